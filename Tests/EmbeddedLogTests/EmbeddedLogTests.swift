import EmbeddedLog
import Foundation
import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("Embedded log")
struct EmbeddedLogTests {
    @Test("keeps the contract of an event log", arguments: EventLogConformance.checks.map(\.name))
    func conformance(name: String) async throws {
        let folder = try TemporaryFolder()
        let log = try EmbeddedLog(folder: folder.path, time: .system, chance: .system)
        // As a second process would open it: another connection, another session.
        let other = try EmbeddedLog(folder: folder.path, time: .system, chance: .system)
        let suite = EventLogConformance(log, other: other, prefix: "test.")

        let check = try #require(EventLogConformance.checks.first { $0.name == name })
        try await check.check(suite)

        await log.close()
        await other.close()
    }

    @Test("what was appended is there after the log is opened anew, under the same identity")
    func reopens() async throws {
        let folder = try TemporaryFolder()
        let first = try EmbeddedLog(folder: folder.path, time: .system, chance: .system)
        try await first.prepare(Catalog.topics)
        _ = try await first.append([NewRecord(topic: "events", key: "k", value: [1])])
        await first.close()

        let second = try EmbeddedLog(folder: folder.path, time: .system, chance: .system)

        let ends = try await second.bounds(of: "events").map(\.next)
        #expect(ends.reduce(0, +) == 1)
        #expect(second.identity == first.identity)
        await second.close()
    }

    @Test("a file that is no log is refused with its name")
    func corrupt() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(
            atPath: "\(folder.path)/members",
            withIntermediateDirectories: true
        )
        try Data(repeating: 0x41, count: 8_192).write(to: URL(fileURLWithPath: "\(folder.path)/log.sqlite"))

        let error = #expect(throws: EventLogError.self) {
            try EmbeddedLog(folder: folder.path, time: .system, chance: .system)
        }

        #expect(error?.kind == .corrupt)
        #expect(error?.detail.contains("log.sqlite") == true)
    }

    @Test("a folder that can not be written is refused with its name")
    func unwritable() {
        let error = #expect(throws: EventLogError.self) {
            try EmbeddedLog(folder: "/proc/penstock", time: .system, chance: .system)
        }

        #expect(error?.kind == .denied)
        #expect(error?.detail.contains("/proc/penstock") == true)
    }

    @Test("records past their topic's retention go, the others stay")
    func retention() async throws {
        let folder = try TemporaryFolder()
        let clock = TestClock()
        let log = try EmbeddedLog(folder: folder.path, time: clock.source, chance: .system)
        let topic = Topic(
            name: "short",
            title: "",
            cleanup: .delete,
            retention: .seconds(60),
            key: "",
            message: DeadLetter.self,
            partitions: 1
        )
        try await log.prepare([topic])
        _ = try await log.append([NewRecord(topic: "short", key: "k", value: [1])])
        clock.advance(by: .seconds(50))
        _ = try await log.append([NewRecord(topic: "short", key: "k", value: [2])])

        try await log.trimNow()
        let before = try await log.bounds(of: "short")[0]
        clock.advance(by: .seconds(20))
        try await log.trimNow()
        let after = try await log.bounds(of: "short")[0]

        #expect(before == LogBounds(first: 0, next: 2))
        #expect(after == LogBounds(first: 1, next: 2))
        await log.close()
    }
}
