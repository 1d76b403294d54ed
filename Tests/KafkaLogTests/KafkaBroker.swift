import Foundation
import KafkaLog
import Pipeline
import Testing
import Topics

/// The broker that the tests use: `PENSTOCK_TEST_KAFKA` names its bootstrap servers.
enum KafkaBroker {
    static let bootstrap: String? = {
        guard let servers = ProcessInfo.processInfo.environment["PENSTOCK_TEST_KAFKA"], !servers.isEmpty
        else {
            print("NOT CHECKED: Kafka: PENSTOCK_TEST_KAFKA names no broker")
            return nil
        }
        return servers
    }()

    static var isThere: Bool { bootstrap != nil }

    /// A log of its own, under a name that no other has.
    static func log(
        _ instance: String = UUID().uuidString,
        membership: KafkaSettings.Membership = .dynamic,
        properties: [String: String] = [:]
    ) throws -> KafkaLog {
        let settings = KafkaSettings(
            bootstrap: try #require(bootstrap),
            instance: instance,
            membership: membership,
            properties: properties
        )
        return try KafkaLog(settings, chance: .system)
    }

    /// The group's progress, once it is as wanted, or as it is after ten seconds: a commit shows a moment
    /// after it has returned.
    static func progress(
        _ log: KafkaLog,
        of group: String,
        in topic: String,
        until isRight: ([Pipeline.Progress]) -> Bool
    ) async throws -> [Pipeline.Progress] {
        var found: [Pipeline.Progress] = []
        for _ in 0..<100 {
            found = try await log.progress(of: group, in: topic)
            if isRight(found) { break }
            try await Task.sleep(for: .milliseconds(100))
        }
        return found
    }

    static func topic(_ name: String, partitions: Int32 = 1) -> Topic {
        Topic(
            name: name,
            title: "",
            cleanup: .delete,
            retention: .seconds(3_600),
            key: "",
            message: DeadLetter.self,
            partitions: partitions
        )
    }

    /// For topics and groups of one test.
    static func prefix() -> String { "test-\(UUID().uuidString.prefix(8))." }
}
