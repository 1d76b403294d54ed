import Foundation
import KafkaLog
import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("librdkafka")
struct LibraryTests {
    private static let isNewer = ProcessInfo.processInfo.environment["PENSTOCK_TEST_LIBRDKAFKA"] == "newer"

    @Test("is another than Debian's where another is asked for", .enabled(if: isNewer))
    func version() {
        #expect(KafkaLog.libraryVersion != "2.0.2")
    }
}

@Suite("Kafka log", .enabled(if: KafkaBroker.isThere))
struct KafkaLogTests {
    /// Dynamic members have no name that another could come under.
    private static let dynamicChecks = EventLogConformance.checks.map(\.name).filter {
        $0 != "a member that lost its partitions commits nothing"
    }

    @Test("keeps the contract of an event log", arguments: dynamicChecks)
    func conformance(name: String) async throws {
        try await run(name, .dynamic, [:])
    }

    @Test("keeps it with static members too", arguments: EventLogConformance.checks.map(\.name))
    func staticConformance(name: String) async throws {
        // The least that a broker takes by default: partitions of a member that left wait for so long.
        try await run(name, .static, ["session.timeout.ms": "6000", "heartbeat.interval.ms": "500"])
    }

    private func run(
        _ name: String,
        _ membership: KafkaSettings.Membership,
        _ properties: [String: String]
    ) async throws {
        let log = try KafkaBroker.log(membership: membership, properties: properties)
        let other = try KafkaBroker.log(membership: membership, properties: properties)
        let suite = EventLogConformance(log, other: other, prefix: KafkaBroker.prefix())

        let check = try #require(EventLogConformance.checks.first { $0.name == name })
        do {
            try await check.check(suite)
        } catch {
            await log.close()
            await other.close()
            throw error
        }

        await log.close()
        await other.close()
    }
}
