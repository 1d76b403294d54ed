import Foundation
@testable import KafkaLog
import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("Kafka in trouble", .enabled(if: KafkaBroker.isThere))
struct TroubleTests {
    @Test("a topic that is not there is named, whoever asks")
    func missingTopic() async throws {
        let log = try KafkaBroker.log()
        let name = "\(KafkaBroker.prefix())nowhere"
        let place = TopicPartition(name, 0)

        let errors = [
            await #expect(throws: EventLogError.self) {
                _ = try await log.append([NewRecord(topic: name, key: "k", value: [])])
            },
            await #expect(throws: EventLogError.self) {
                _ = try await log.read(place, from: 0, recordsMax: 1, wait: .zero)
            },
            await #expect(throws: EventLogError.self) { _ = try await log.bounds(of: name) },
            await #expect(throws: EventLogError.self) {
                _ = try await log.join(GroupMembership(group: name, topics: [name], member: "a"))
            },
        ]

        for error in errors {
            #expect(error?.kind == .invalid)
            #expect(error?.detail.contains(name) == true)
        }
        await log.close()
    }

    /// Returns once every broker knows of them.
    private func create(_ topics: [KafkaAdmin.NewTopic], by admin: KafkaAdmin) async throws {
        try await Threads.run {
            try admin.create(topics)
            _ = try TopicShape.ready(topics.map(\.name), by: admin)
        }
    }

    @Test("settings that differ are told, and left as they are")
    func drift() async throws {
        let log = try KafkaBroker.log()
        let name = "\(KafkaBroker.prefix())drift"
        let admin = try KafkaAdmin(
            KafkaSettings(bootstrap: try #require(KafkaBroker.bootstrap), instance: "t")
        )
        try await create(
            [
                KafkaAdmin.NewTopic(
                    name: name,
                    partitions: 2,
                    settings: ["cleanup.policy": "compact", "retention.ms": "1000"]
                )
            ],
            by: admin
        )

        let differences = try await log.differences([
            KafkaBroker.topic(name), KafkaBroker.topic("\(name)-missing"),
        ])
        let refused = await #expect(throws: EventLogError.self) {
            try await log.prepare([KafkaBroker.topic(name)])
        }
        let later = try await Threads.run { try admin.settings(of: [name])[name] }

        let told = differences.map { "\($0.topic.dropFirst(name.count)) \($0.setting) \($0.found)" }
        #expect(
            Set(told) == [
                " partitions 2", " cleanup.policy compact", " retention.ms 1000",
                " message.timestamp.type CreateTime", " max.message.bytes 1048588", "-missing topic missing",
            ]
        )
        #expect(refused?.kind == .mismatch)
        #expect(later?["cleanup.policy"] == "compact" && later?["retention.ms"] == "1000")
        await Threads.run { admin.destroy() }
        await log.close()
    }

    @Test("a log created anew under the same names is another log")
    func identity() async throws {
        let prefix = KafkaBroker.prefix()
        var identities: [String] = []
        for (name, instance) in [("a", "1"), ("a", "2"), ("b", "3")] {
            let log = try KafkaBroker.log(instance)
            try await log.prepare([KafkaBroker.topic("\(prefix)\(name)")])
            identities.append(log.identity)
            await log.close()
        }

        #expect(identities[0] == identities[1] && identities[0] != identities[2])
        #expect(identities[0].utf8.count <= 64)
        #expect(
            identities[0].utf8.allSatisfy {
                UInt8(ascii: "-") == $0 || UInt8(ascii: ".") == $0 || UInt8(ascii: "_") == $0
                    || (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
            }
        )
    }

    @Test("outputs that the topic refuses take nothing with them, and the rest can be committed")
    func refusedOutputs() async throws {
        let log = try KafkaBroker.log()
        let prefix = KafkaBroker.prefix()
        let (input, small) = ("\(prefix)input", "\(prefix)small")
        let admin = try KafkaAdmin(
            KafkaSettings(bootstrap: try #require(KafkaBroker.bootstrap), instance: "t")
        )
        try await create(
            [
                KafkaAdmin.NewTopic(name: small, partitions: 1, settings: ["max.message.bytes": "1000"])
            ],
            by: admin
        )
        await Threads.run { admin.destroy() }
        try await log.prepare([KafkaBroker.topic(input)])
        for number in 0..<3 {
            _ = try await log.append([NewRecord(topic: input, key: "k\(number)", value: [])])
        }
        // Not to be made smaller by compression.
        var random = SplitMix(seed: 1)
        let noise = (0..<5_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let large = NewRecord(topic: small, key: "k", value: noise)
        let alone = await #expect(throws: EventLogError.self) { _ = try await log.append([large]) }
        let fits = NewRecord(topic: small, key: "k", value: [1])
        let after = try await log.append([fits])
        let together = await #expect(throws: EventLogError.self) { _ = try await log.append([fits, large]) }
        let consumer = try await log.join(GroupMembership(group: "\(prefix)g", topics: [input], member: "a"))
        var found: [(Assignment, LogRecord)] = []
        while found.count < 3 {
            if case .records(let assignment, let records) = try await consumer.next() {
                found += records.map { (assignment, $0) }
            }
        }
        let completions = found.map { assignment, record in
            Completion(
                assignment: assignment,
                offset: record.offset,
                outputs: [record.offset == 1 ? large : fits]
            )
        }
        let refused = await #expect(throws: EventLogError.self) { _ = try await consumer.commit(completions) }
        let taken = try await consumer.commit([completions[0], completions[2]])
        await consumer.leave()
        let progress = try await KafkaBroker.progress(log, of: "\(prefix)g", in: input) { $0[0].low == 1 }
        let page = try await Self.page(log, small, count: 3)

        #expect(alone?.kind == .invalid, "\(alone?.detail ?? "")")
        #expect(together?.kind == .invalid, "\(together?.detail ?? "")")
        #expect(refused?.kind == .invalid, "\(refused?.detail ?? "")")
        #expect(taken.count == 2)
        #expect(progress[0].low == 1 && progress[0].doneAbove == [2])
        #expect(after[0].offset == 0)
        #expect(page.map(\.value) == [[1], [1], [1]])
        await log.close()
    }

    /// Once so many are readable.
    static func page(_ log: KafkaLog, _ topic: String, count: Int) async throws -> [LogRecord] {
        var records: [LogRecord] = []
        var next: Int64 = 0
        while records.count < count {
            let page = try await log.read(
                TopicPartition(topic, 0),
                from: next,
                recordsMax: 100,
                wait: .seconds(30)
            )
            guard !page.records.isEmpty else { break }
            records += page.records
            next = page.next
        }
        let rest = try await log.read(TopicPartition(topic, 0), from: next, recordsMax: 100, wait: .zero)
        return records + rest.records
    }

    @Test("a member that speaks another protocol than its group is told so, again and again")
    func otherProtocol() async throws {
        let prefix = KafkaBroker.prefix()
        let first = try KafkaBroker.log(properties: ["partition.assignment.strategy": "range"])
        let second = try KafkaBroker.log()
        try await first.prepare([KafkaBroker.topic("\(prefix)t")])
        let membership = GroupMembership(group: "\(prefix)g", topics: ["\(prefix)t"], member: "a")
        let member = try await first.join(membership)
        guard case .assigned = try await member.next() else {
            Issue.record("not assigned")
            return
        }
        let stranger = try await second.join(
            GroupMembership(group: membership.group, topics: membership.topics, member: "b")
        )

        let errors = [
            await #expect(throws: EventLogError.self) { _ = try await stranger.next() },
            await #expect(throws: EventLogError.self) { _ = try await stranger.next() },
        ]

        for error in errors {
            #expect(error?.detail.contains("INCONSISTENT_GROUP_PROTOCOL") == true, "\(error?.detail ?? "")")
        }
        await stranger.leave()
        await member.leave()
        await first.close()
        await second.close()
    }

    @Test("eager assignment strategies work too")
    func eager() async throws {
        let prefix = KafkaBroker.prefix()
        let log = try KafkaBroker.log(properties: ["partition.assignment.strategy": "range"])
        try await log.prepare([KafkaBroker.topic("\(prefix)t", partitions: 2)])
        let membership = GroupMembership(group: "\(prefix)g", topics: ["\(prefix)t"], member: "a")
        let first = try await log.join(membership)
        guard case .assigned(let all) = try await first.next() else {
            Issue.record("not assigned")
            return
        }
        let joining = Task {
            let second = try await log.join(
                GroupMembership(group: membership.group, topics: membership.topics, member: "b")
            )
            while true { if case .assigned(let mine) = try await second.next() { return (second, mine) } }
        }
        var revoked = 0
        var again: [Assignment] = []
        while again.isEmpty {
            switch try await first.next() {
            case .revoked(let gone):
                revoked += gone.count
                await first.release(gone)
            case .assigned(let mine): again = mine
            default: continue
            }
        }
        let (second, theirs) = try await joining.value

        #expect(all.count == 2 && revoked == 2 && again.count == 1 && theirs.count == 1)
        #expect(again[0].partition != theirs[0].partition)
        #expect(all.allSatisfy { !$0.isAlive })
        await first.leave()
        await second.leave()
        await log.close()
    }
}

/// For calls that block, outside Swift's pool.
enum Threads {
    static func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
        }
    }

    static func run(_ body: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                body()
                continuation.resume()
            }
        }
    }
}
