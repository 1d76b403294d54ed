package import Pipeline
import Topics

/// What every `EventLog` must do; each check throws a `ConformanceFailure` that says what went wrong.
package struct EventLogConformance: Sendable {
    let log: any EventLog
    /// The same log as another process sees it; for logs that only one process can use, the same object.
    let other: any EventLog
    let prefix: String

    package init(_ log: any EventLog, other: any EventLog, prefix: String) {
        self.log = log
        self.other = other
        self.prefix = prefix
    }

    package static let checks: [(name: String, check: @Sendable (Self) async throws -> Void)] = [
        ("records of a key keep their order and their bytes", { try await $0.keepsOrder() }),
        (
            "an empty key, an unknown topic, a record too large are refused",
            { try await $0.refusesBadRecords() }
        ),
        ("the largest record is taken, and comes back as it was", { try await $0.takesLargest() }),
        ("an append is stored whole or not at all", { try await $0.appendsWhole() }),
        ("another partition count is refused", { try await $0.refusesMismatch() }),
        (
            "a group gets every record, and commits outputs with progress",
            { try await $0.consumesAndCommits() }
        ),
        (
            "what was not committed comes again, what was done out of order does not",
            { try await $0.redelivers() }
        ),
        (
            "two members share the partitions, and take over from one that leaves",
            { try await $0.sharesAndTakesOver() }
        ),
        ("a member that lost its partitions commits nothing", { try await $0.fencesTheLate() }),
        ("work of an earlier stay is not committed in a later one", { try await $0.forgetsEarlierStays() }),
        ("what is done is remembered, in whatever pattern", { try await $0.remembersPatterns() }),
        ("what was committed as output is consumed as input", { try await $0.chains() }),
        ("a paused partition is silent until it is resumed", { try await $0.pauses() }),
        ("a read waits for what comes", { try await $0.waits() }),
    ]

    func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws {
        guard condition else { throw ConformanceFailure(message()) }
    }

    func topic(_ name: String, partitions: Int32 = 4) async throws -> String {
        let full = "\(prefix)\(name)"
        let topic = Topic(
            name: full,
            title: name,
            cleanup: .delete,
            retention: .seconds(86_400),
            key: "key",
            message: DeadLetter.self,
            partitions: partitions
        )
        try await log.prepare([topic])
        return full
    }

    func record(_ topic: String, _ key: String, _ value: String) -> NewRecord {
        NewRecord(
            topic: topic,
            key: key,
            headers: [LogHeader("name", "ü"), LogHeader("empty", [UInt8]()), LogHeader("name", "twice")],
            value: Array(value.utf8)
        )
    }

    /// All that is there once it is at least so many: what was committed may be readable a moment later.
    func all(_ topic: String, count: Int) async throws -> [LogRecord] {
        for _ in 0..<500 {
            let records = try await all(topic)
            if records.count >= count { return records }
            try await TimeSource.system.sleep(.milliseconds(20))
        }
        return try await all(topic)
    }

    func all(_ topic: String) async throws -> [LogRecord] {
        var records: [LogRecord] = []
        for (partition, bounds) in try await log.bounds(of: topic).enumerated() {
            let place = TopicPartition(topic, Int32(partition))
            var offset = bounds.first
            while offset < bounds.next {
                let page = try await log.read(place, from: offset, recordsMax: 100, wait: .zero)
                guard !page.records.isEmpty else { break }
                records += page.records
                offset = page.next
            }
        }
        return records
    }

    func keepsOrder() async throws {
        let topic = try await topic("order")
        var positions: [RecordPosition] = []
        for number in 0..<40 {
            positions += try await log.append([record(topic, "key\(number % 5)", "\(number)")])
        }
        try expect(positions.count == 40, "\(positions.count) positions for 40 records")
        let records = try await all(topic, count: 40)
        try expect(records.count == 40, "\(records.count) of 40 records are there")
        for key in 0..<5 {
            let mine = records.filter { $0.key == Array("key\(key)".utf8) }
            let values = mine.map { Int(String(decoding: $0.value, as: UTF8.self)) ?? -1 }
            try expect(Set(mine.map(\.position.partition)).count == 1, "key\(key) is in several partitions")
            try expect(values == values.sorted() && values.count == 8, "key\(key) came as \(values)")
            let partition = Partitioner.partition(of: Array("key\(key)".utf8), among: 4)
            try expect(
                mine.first?.position.partition.partition == partition,
                "another partition than murmur2's"
            )
        }
        let headers = records.first?.headers
        try expect(
            headers == record(topic, "a", "").headers,
            "headers came back as \(String(describing: headers))"
        )
    }

    func refusesBadRecords() async throws {
        let topic = try await topic("bad")
        let large = NewRecord(
            topic: topic,
            key: "k",
            value: [UInt8](repeating: 1, count: log.recordBytesMax + 1)
        )
        for bad in [record(topic, "", "x"), record("\(prefix)unknown", "k", "x"), large] {
            do throws(EventLogError) {
                _ = try await log.append([record(topic, "good", "1"), bad])
            } catch {
                try expect(error.kind == .invalid, "\(bad.topic): \(error)")
                continue
            }
            throw ConformanceFailure("a bad record was taken")
        }
        let kept = try await all(topic)
        try expect(kept.isEmpty, "a part of a refused append is there")
    }

    func takesLargest() async throws {
        let input = try await topic("largest", partitions: 1)
        let output = try await topic("largest-output", partitions: 1)
        // Noise: compression must not make it fit.
        var random = SplitMix(seed: 1)
        var largest = record(input, "key", "")
        largest.value = (0..<log.recordBytesMax - largest.byteCount).map { _ in
            UInt8(truncatingIfNeeded: random.next())
        }
        _ = try await log.append([largest])
        var probe = try await join(log, "largest", input, "a")
        let (assignment, found) = try await probe.take(1)[0]
        try expect(found.value == largest.value, "the largest record came back as another")
        var result = largest
        result.topic = output
        let completion = Completion(assignment: assignment, offset: found.offset, outputs: [result])
        let done = try await probe.consumer.commit([completion])
        try expect(done.count == 1, "the largest output could not be committed")
        await probe.consumer.leave()
        let outputs = try await all(output, count: 1)
        try expect(outputs.map(\.value) == [largest.value], "the largest output came back as another")
    }

    func appendsWhole() async throws {
        let topic = try await topic("whole")
        let log = log
        let batches = try await withThrowingTaskGroup(of: [RecordPosition].self) { group in
            for batch in 0..<20 {
                let records = (0..<5).map { record(topic, "same", "\(batch).\($0)") }
                group.addTask { try await log.append(records) }
            }
            return try await group.reduce(into: [[RecordPosition]]()) { $0.append($1) }
        }
        for batch in batches {
            let offsets = batch.map(\.offset)
            try expect(offsets == offsets.sorted(), "an append's records are out of order: \(offsets)")
        }
        let count = try await all(topic, count: 100).count
        try expect(count == 100, "\(count) of 100 records are there")
    }

    func refusesMismatch() async throws {
        _ = try await topic("shape", partitions: 4)
        do {
            _ = try await topic("shape", partitions: 5)
        } catch let error as EventLogError {
            return try expect(error.kind == .mismatch, "\(error)")
        }
        throw ConformanceFailure("another partition count was taken")
    }

    func waits() async throws {
        let topic = try await topic("wait", partitions: 1)
        let log = log
        async let page = log.read(TopicPartition(topic, 0), from: 0, recordsMax: 10, wait: .seconds(20))
        _ = try await log.append([record(topic, "k", "late")])
        let records = try await page.records
        try expect(records.count == 1, "the waiting read gave \(records.count) records")
        let empty = try await log.read(
            TopicPartition(topic, 0),
            from: 1,
            recordsMax: 10,
            wait: .milliseconds(1)
        )
        try expect(empty.records.isEmpty && empty.next == 1, "an empty read is not empty")
    }
}
