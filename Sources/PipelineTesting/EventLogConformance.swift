package import Pipeline
import Topics

/// What every `EventLog` must do; each check throws a `ConformanceFailure` that says what went wrong.
package struct EventLogConformance: Sendable {
    private let log: any EventLog
    /// The same log as another process sees it; for logs that only one process can use, the same object.
    private let other: any EventLog
    private let prefix: String

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

    private func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws {
        guard condition else { throw ConformanceFailure(message()) }
    }

    private func topic(_ name: String, partitions: Int32 = 4) async throws -> String {
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

    private func record(_ topic: String, _ key: String, _ value: String) -> NewRecord {
        NewRecord(
            topic: topic,
            key: key,
            headers: [LogHeader("name", "ü"), LogHeader("empty", [UInt8]()), LogHeader("name", "twice")],
            value: Array(value.utf8)
        )
    }

    /// All that is there once it is at least so many: what was committed may be readable a moment later.
    private func all(_ topic: String, count: Int) async throws -> [LogRecord] {
        for _ in 0..<500 {
            let records = try await all(topic)
            if records.count >= count { return records }
            try await TimeSource.system.sleep(.milliseconds(20))
        }
        return try await all(topic)
    }

    private func all(_ topic: String) async throws -> [LogRecord] {
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

    private func keepsOrder() async throws {
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

    private func refusesBadRecords() async throws {
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

    private func appendsWhole() async throws {
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

    private func refusesMismatch() async throws {
        _ = try await topic("shape", partitions: 4)
        do {
            _ = try await topic("shape", partitions: 5)
        } catch let error as EventLogError {
            return try expect(error.kind == .mismatch, "\(error)")
        }
        throw ConformanceFailure("another partition count was taken")
    }

    private func waits() async throws {
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

// Groups.
extension EventLogConformance {
    private func join(_ log: any EventLog, _ group: String, _ topic: String, _ member: String) async throws
        -> GroupProbe
    {
        GroupProbe(
            try await log.join(GroupMembership(group: "\(prefix)\(group)", topics: [topic], member: member)),
            member
        )
    }

    private func consumesAndCommits() async throws {
        let input = try await topic("input")
        let output = try await topic("output")
        for number in 0..<30 { _ = try await log.append([record(input, "key\(number)", "\(number)")]) }
        var probe = try await join(log, "commit", input, "a")
        let records = try await probe.take(30)
        try expect(records.count == 30, "\(records.count) of 30 records were delivered")
        let completions = records.map { assignment, found in
            Completion(
                assignment: assignment,
                offset: found.offset,
                outputs: [NewRecord(topic: output, key: "out", value: found.value)]
            )
        }
        let done = try await probe.consumer.commit(completions)
        try expect(done.count == 30, "\(done.count) of 30 completions took effect")
        let outputs = try await all(output, count: 30)
        try expect(outputs.count == 30, "\(outputs.count) of 30 outputs are there")
        await probe.consumer.leave()
        let next = try await log.bounds(of: input).map(\.next)
        try await seen("commit", in: input) { $0.map(\.low) == next }
    }

    private func redelivers() async throws {
        let input = try await topic("again", partitions: 1)
        for number in 0..<10 { _ = try await log.append([record(input, "key", "\(number)")]) }
        var first = try await join(log, "again", input, "a")
        let records = try await first.take(10)
        let done = records.filter { [0, 1, 4, 7].contains($0.record.offset) }
        _ = try await first.consumer.commit(
            done.map { Completion(assignment: $0.assignment, offset: $0.record.offset, outputs: []) }
        )
        await first.consumer.leave()
        var second = try await join(other, "again", input, "b")
        let again = try await second.take(6)
        try expect(
            again.map(\.record.offset) == [2, 3, 5, 6, 8, 9],
            "came again: \(again.map(\.record.offset))"
        )
        try expect(
            again.allSatisfy { $0.record.offset < $0.assignment.freshFrom },
            "old records count as fresh"
        )
        await second.consumer.leave()
    }

    private func sharesAndTakesOver() async throws {
        let input = try await topic("share", partitions: 4)
        var first = try await join(log, "share", input, "a")
        try await first.wait { $0.held.count == 4 }
        var second = try await join(other, "share", input, "b")
        for _ in 0..<200 where second.held.count < 2 {
            try await first.step()
            try await second.step()
        }
        try expect(
            first.held.count == 2 && second.held.count == 2,
            "two members hold \(first.held.count) and \(second.held.count) of 4 partitions"
        )
        let owned = Set(first.held.keys).intersection(second.held.keys)
        try expect(owned.isEmpty, "both hold \(owned)")
        await second.consumer.leave()
        try await first.wait { $0.held.count == 4 }
        await first.consumer.leave()
    }

    private func fencesTheLate() async throws {
        let input = try await topic("late", partitions: 1)
        let output = try await topic("late-output", partitions: 1)
        _ = try await log.append([record(input, "key", "1")])
        var late = try await join(log, "late", input, "same-name")
        let mine = try await late.take(1)
        // Another process joins under the same name: a restart whose old process has not noticed.
        var successor = try await join(other, "late", input, "same-name")
        let theirs = try await successor.take(1, giveUp: late)
        let outputs = [NewRecord(topic: output, key: "k", value: [1])]
        let lateDone = try await commitStubbornly(
            mine.map { Completion(assignment: $0.assignment, offset: $0.record.offset, outputs: outputs) },
            by: late
        )
        try expect(lateDone.isEmpty, "a member that was replaced has committed")
        let done = try await successor.consumer.commit(
            theirs.map { Completion(assignment: $0.assignment, offset: $0.record.offset, outputs: outputs) }
        )
        try expect(done.count == 1, "the successor could not commit")
        let count = try await all(output, count: 1).count
        try expect(count == 1, "\(count) outputs of one record")
        await successor.consumer.leave()
        await late.consumer.leave()
    }

    /// Commits again for as long as the log asks for that.
    private func commitStubbornly(_ completions: [Completion], by probe: GroupProbe) async throws
        -> [Completion]
    {
        for _ in 0..<60 {
            do throws(EventLogError) {
                return try await probe.consumer.commit(completions)
            } catch {
                if error.kind == .fenced { return [] }
                try expect(error.kind == .unavailable, "\(error)")
            }
            try await TimeSource.system.sleep(.milliseconds(500))
        }
        throw ConformanceFailure("\(probe.name): the commit was possible later for ever")
    }

    /// Every commit is refused that rests on an earlier stay, though the partition is this member's again.
    private func forgetsEarlierStays() async throws {
        let input = try await topic("stay", partitions: 1)
        let output = try await topic("stay-output", partitions: 1)
        _ = try await log.append([record(input, "key", "1")])
        var first = try await join(log, "stay", input, "a")
        let old = try await first.take(1)
        await first.consumer.leave()
        var second = try await join(other, "stay", input, "a")
        let new = try await second.take(1)
        let outputs = [NewRecord(topic: output, key: "k", value: [1])]
        let mine = new.map {
            Completion(assignment: $0.assignment, offset: $0.record.offset, outputs: outputs)
        }
        let stale = old.map {
            Completion(assignment: $0.assignment, offset: $0.record.offset, outputs: outputs)
        }
        let done = try await commitStubbornly(stale + mine, by: second)
        try expect(done.count == 1, "\(done.count) of one old and one new completion took effect")
        let count = try await all(output, count: 1).count
        try expect(count == 1, "\(count) outputs of one record")
        await second.consumer.leave()
    }

    /// What is done is remembered offset by offset, over several commits and members.
    private func remembersPatterns() async throws {
        let input = try await topic("pattern", partitions: 1)
        let count = 900
        for start in stride(from: 0, to: count, by: 100) {
            _ = try await log.append((start..<start + 100).map { record(input, "key\($0)", "\($0)") })
        }
        var done: Set<String> = []
        for (round, name) in ["a", "b", "c"].enumerated() {
            var probe = try await join(round % 2 == 0 ? log : other, "pattern", input, name)
            let records = try await probe.take(count - done.count)
            let values = records.map { String(decoding: $0.record.value, as: UTF8.self) }
            try expect(Set(values).isDisjoint(with: done), "what was done came again")
            try expect(Set(values).count == count - done.count, "records came twice, or not at all")
            // Another pattern each time: multiples of 2, of 3, then the rest; in two commits.
            let mine = zip(records, values).filter { (Int($0.1) ?? 1) % (round + 2) == 0 || round == 2 }
            for half in [mine.prefix(mine.count / 2), mine.suffix(mine.count - mine.count / 2)] {
                let completions = half.map {
                    Completion(assignment: $0.0.assignment, offset: $0.0.record.offset, outputs: [])
                }
                let committed = try await probe.consumer.commit(completions)
                try expect(
                    committed.count == half.count,
                    "\(committed.count) of \(half.count) were committed"
                )
            }
            done.formUnion(mine.map(\.1))
            await probe.consumer.leave()
        }
        try expect(done.count == count, "\(done.count) of \(count) records were done")
    }

    /// Waits until the group's progress, which may come a moment after its commit, is as it must be.
    private func seen(
        _ group: String,
        in topic: String,
        _ isRight: ([Progress]) -> Bool
    ) async throws {
        var found: [Progress] = []
        for _ in 0..<100 {
            found = try await log.progress(of: "\(prefix)\(group)", in: topic)
            if isRight(found) { return }
            try await TimeSource.system.sleep(.milliseconds(100))
        }
        throw ConformanceFailure("\(group): progress \(found.map(\.low)), above it \(found.map(\.doneAbove))")
    }

    /// Outputs of transactions are input like any other, whatever else such a log keeps between them.
    private func chains() async throws {
        let input = try await topic("chain", partitions: 1)
        let middle = try await topic("chain-middle", partitions: 1)
        for number in 0..<20 { _ = try await log.append([record(input, "key\(number)", "\(number)")]) }
        var first = try await join(log, "chain-first", input, "a")
        for (assignment, found) in try await first.take(20) {
            let outputs = [NewRecord(topic: middle, key: "out", value: found.value)]
            let completion = Completion(assignment: assignment, offset: found.offset, outputs: outputs)
            let done = try await first.consumer.commit([completion])
            try expect(done.count == 1, "a commit in the chain had no effect")
        }
        await first.consumer.leave()
        var second = try await join(other, "chain-second", middle, "a")
        let records = try await second.take(20)
        for (assignment, found) in records {
            _ = try await second.consumer.commit([
                Completion(assignment: assignment, offset: found.offset, outputs: [])
            ])
        }
        let low = records.last?.assignment.progress.low ?? 0
        let highest = records.map(\.record.offset).max() ?? 0
        try expect(low > highest, "all is done up to \(highest), and the progress is at \(low)")
        try await seen("chain-second", in: middle) { $0[0].low > highest && $0[0].doneAbove.isEmpty }
        await second.consumer.leave()
    }

    private func pauses() async throws {
        let input = try await topic("pause", partitions: 1)
        var probe = try await join(log, "pause", input, "a")
        try await probe.wait { !$0.held.isEmpty }
        guard let assignment = probe.held.values.first else { throw ConformanceFailure("nothing is held") }
        await probe.consumer.pause(assignment)
        _ = try await log.append([record(input, "k", "1")])
        let consumer = probe.consumer
        let time = TimeSource.system
        let early = await Deadline.run(.milliseconds(700), time: time) { () -> Bool in
            // Whatever else happens is no delivery.
            guard case .records = try? await consumer.next() else { return false }
            return true
        }
        try expect(!early.value || early.isLate, "a paused partition delivered")
        await probe.consumer.resume(assignment)
        let records = try await probe.take(1)
        try expect(records.count == 1, "a resumed partition delivered nothing")
        await probe.consumer.leave()
    }
}

/// A member of a group, driven step by step.
private struct GroupProbe {
    let consumer: any LogConsumer
    let name: String
    private(set) var held: [TopicPartition: Assignment] = [:]
    private var waiting: [(assignment: Assignment, record: LogRecord)] = []

    init(_ consumer: any LogConsumer, _ name: String) {
        self.consumer = consumer
        self.name = name
    }

    /// Takes one thing that happened, or none within a second and a half.
    mutating func step() async throws {
        let consumer = consumer
        let result = await Deadline.run(.milliseconds(1_500), time: .system) {
            () -> Result<ConsumerEvent, any Error>? in
            do {
                return .success(try await consumer.next())
            } catch let error as EventLogError where error.kind == .closed {
                return nil
            } catch {
                return .failure(error)
            }
        }
        guard let event = try result.value?.get() else { return }
        switch event {
        case .assigned(let assignments):
            for assignment in assignments { held[assignment.partition] = assignment }
        case .records(let assignment, let records): waiting += records.map { (assignment, $0) }
        case .revoked(let assignments):
            for assignment in assignments { held[assignment.partition] = nil }
            await consumer.release(assignments)
        case .lost(let assignments): for assignment in assignments { held[assignment.partition] = nil }
        case .left: throw ConformanceFailure("\(name) has left by itself")
        }
    }

    /// The next records that are not done yet.
    mutating func take(
        _ count: Int,
        giveUp other: GroupProbe? = nil
    ) async throws -> [(assignment: Assignment, record: LogRecord)] {
        var taken: [(assignment: Assignment, record: LogRecord)] = []
        for _ in 0..<100 {
            while let next = waiting.first, taken.count < count {
                waiting.removeFirst()
                if !next.assignment.isDone(next.record.offset) { taken.append(next) }
            }
            if taken.count == count { return taken }
            try await step()
        }
        throw ConformanceFailure("\(name): \(taken.count) of \(count) records were delivered")
    }

    mutating func wait(_ condition: (GroupProbe) -> Bool) async throws {
        for _ in 0..<100 {
            if condition(self) { return }
            try await step()
        }
        throw ConformanceFailure("\(name) waited in vain; it holds \(held.count) partitions")
    }
}
