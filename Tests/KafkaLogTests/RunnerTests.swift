import Foundation
import KafkaLog
import Pipeline
import Synchronization
import Testing
import Topics

@Suite("A runner on Kafka", .enabled(if: KafkaBroker.isThere))
struct RunnerTests {
    private static let records = 4_000
    private static let keys = 40

    /// Tiny queues, so that delivery is paused and goes on again and again.
    private func runner(_ log: KafkaLog, _ prefix: String, _ member: String) -> Runner {
        Runner(
            log: log,
            membership: GroupMembership(group: "\(prefix)g", topics: ["\(prefix)in"], member: member),
            stage: Echo(output: "\(prefix)out"),
            settings: Runner.Settings(
                limits: Dispatch.Limits(inFlightMax: 16, queuedBytesMax: 40_000),
                stopWithin: .seconds(10),
                revokeWithin: .seconds(2)
            ),
            time: .system
        )
    }

    @Test("members come and go under load, delivery pauses: each record once, in order, and none is left")
    func comeAndGo() async throws {
        let prefix = KafkaBroker.prefix()
        let (first, second) = (try KafkaBroker.log(), try KafkaBroker.log())
        try await first.prepare([
            KafkaBroker.topic("\(prefix)in", partitions: 6), KafkaBroker.topic("\(prefix)out", partitions: 6),
        ])
        for start in stride(from: 0, to: Self.records, by: 400) {
            _ = try await first.append(
                (start..<start + 400).map {
                    NewRecord(topic: "\(prefix)in", key: "key\($0 % Self.keys)", value: Array("\($0)".utf8))
                }
            )
        }

        let steady = runner(first, prefix, "a")
        async let steadyRun: Void = steady.run()
        // Another joins twice, and leaves while there is work.
        for part in 1...2 {
            try await wait(first, prefix, for: part * Self.records / 5)
            let guest = runner(second, prefix, "b\(part)")
            async let guestRun: Void = guest.run()
            try await wait(first, prefix, for: part * Self.records / 5 + Self.records / 5)
            guest.stop()
            await guestRun
        }
        try await wait(first, prefix, for: Self.records)
        steady.stop()
        await steadyRun

        var orders: [String: [Int]] = [:]
        for record in try await outputs(first, prefix) {
            let number = Int(String(decoding: record.value, as: UTF8.self)) ?? -1
            orders[String(decoding: record.key, as: UTF8.self), default: []].append(number)
        }
        #expect(orders.count == Self.keys)
        for (key, numbers) in orders {
            let start = Int(key.dropFirst(3)) ?? -1
            let wanted = Array(stride(from: start, to: Self.records, by: Self.keys))
            #expect(numbers == wanted, "\(key): \(numbers.count) of \(wanted.count)")
        }
        let ends = try await first.bounds(of: "\(prefix)in")
        let areDone = { (progress: [Pipeline.Progress]) in zip(progress, ends).map { $1.next - $0.low <= 1 } }
        let progress = try await KafkaBroker.progress(first, of: "\(prefix)g", in: "\(prefix)in") {
            !areDone($0).contains(false)
        }
        let isDone = areDone(progress)
        #expect(isDone == Array(repeating: true, count: 6))
        await first.close()
        await second.close()
    }

    /// Until the group has done so many records.
    private func wait(_ log: KafkaLog, _ prefix: String, for count: Int) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while .now < end {
            let done = try await log.bounds(of: "\(prefix)out").reduce(0) { $0 + $1.next - $1.first }
            // Markers count there too: it is looked at closely when that many are near.
            if done >= count, try await outputs(log, prefix).count >= count { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("only \(try await outputs(log, prefix).count) of \(count) were done in time")
    }

    private func outputs(_ log: KafkaLog, _ prefix: String) async throws -> [LogRecord] {
        var records: [LogRecord] = []
        for (partition, bounds) in try await log.bounds(of: "\(prefix)out").enumerated() {
            let place = TopicPartition("\(prefix)out", Int32(partition))
            var offset = bounds.first
            while offset < bounds.next {
                let page = try await log.read(place, from: offset, recordsMax: 1_000, wait: .zero)
                records += page.records
                guard page.next > offset else { break }
                offset = page.next
            }
        }
        return records
    }
}

/// Each record again, under its key.
private struct Echo: RecordStage {
    let output: String

    func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]? {
        // As a model that is asked would.
        try? await Task.sleep(for: .milliseconds(record.offset % 3))
        let key = String(decoding: record.key, as: UTF8.self)
        return [NewRecord(topic: output, key: key, value: record.value)]
    }

    func refused(_ record: LogRecord, detail: String) -> [NewRecord] { [] }
}
