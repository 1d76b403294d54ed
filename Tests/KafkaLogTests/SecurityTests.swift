import Foundation
import KafkaLog
import Pipeline
import Testing
import Topics

/// `PENSTOCK_TEST_KAFKA_SECURE` names a SASL_SSL listener with the users of the test brokers, and
/// `PENSTOCK_TEST_KAFKA_CA` the file of its authority.
private let secure: (bootstrap: String, authority: String)? = {
    let environment = ProcessInfo.processInfo.environment
    guard let bootstrap = environment["PENSTOCK_TEST_KAFKA_SECURE"], !bootstrap.isEmpty,
        let authority = environment["PENSTOCK_TEST_KAFKA_CA"]
    else {
        print("NOT CHECKED: Kafka with TLS and SASL: PENSTOCK_TEST_KAFKA_SECURE names no broker")
        return nil
    }
    return (bootstrap, authority)
}()

@Suite("Kafka with TLS and SASL", .enabled(if: secure != nil))
struct SecurityTests {
    private func log(_ user: String, _ password: String, authority: String? = nil) throws -> KafkaLog {
        let broker = try #require(secure)
        let settings = KafkaSettings(
            bootstrap: broker.bootstrap,
            instance: UUID().uuidString,
            membership: .dynamic,
            properties: [
                "security.protocol": "SASL_SSL", "ssl.ca.location": authority ?? broker.authority,
                "sasl.mechanisms": "PLAIN", "sasl.username": user, "sasl.password": password,
            ]
        )
        return try KafkaLog(settings, chance: .system)
    }

    /// What keeps the user from preparing its topic.
    private func refusal(_ log: KafkaLog) async -> EventLogError? {
        defer { Task { await log.close() } }
        return await #expect(throws: EventLogError.self) {
            try await log.prepare([KafkaBroker.topic("\(KafkaBroker.prefix())secret")])
        }
    }

    @Test("whoever may, creates, appends, consumes and commits")
    func allowed() async throws {
        let log = try log("penstock", "penstock-secret")
        let name = "\(KafkaBroker.prefix())open"
        try await log.prepare([KafkaBroker.topic(name)])
        let position = try await log.append([NewRecord(topic: name, key: "k", value: [1])])[0]
        let consumer = try await log.join(
            GroupMembership(group: "\(name)-group", topics: [name], member: "a")
        )
        var done = 0
        while done == 0 {
            guard case .records(let assignment, let records) = try await consumer.next() else { continue }
            let completions = records.map {
                Completion(assignment: assignment, offset: $0.offset, outputs: [])
            }
            done = try await consumer.commit(completions).count
        }
        await consumer.leave()

        #expect(position.offset == 0)
        let group = "\(name)-group"
        let progress = try await KafkaBroker.progress(log, of: group, in: name) { $0.map(\.low) == [1] }
        #expect(progress.map(\.low) == [1])
        await log.close()
    }

    @Test("a user without rights is denied, in the broker's words")
    func stranger() async throws {
        let error = await refusal(try log("stranger", "stranger-secret"))

        #expect(error?.kind == .denied)
        #expect(error?.detail.contains("AUTHORIZATION_FAILED") == true, "\(error?.detail ?? "")")
    }

    @Test("a wrong password is denied, and never shown")
    func wrongPassword() async throws {
        let error = await refusal(try log("penstock", "wrong-secret"))

        #expect(error?.kind == .denied, "\(error?.detail ?? "")")
        #expect(error?.detail.contains("wrong-secret") == false)
    }

    @Test("a broker that is not who it should be is refused")
    func wrongAuthority() async throws {
        let error = await refusal(
            try log("penstock", "penstock-secret", authority: "/etc/ssl/certs/ca-certificates.crt")
        )

        #expect(error?.detail.contains("SSL") == true, "\(error?.detail ?? "")")
    }
}
