import Pipeline
import Topics

// Groups.
extension EventLogConformance {
    func join(_ log: any EventLog, _ group: String, _ topic: String, _ member: String) async throws
        -> GroupProbe
    {
        GroupProbe(
            try await log.join(GroupMembership(group: "\(prefix)\(group)", topics: [topic], member: member)),
            member
        )
    }

    func consumesAndCommits() async throws {
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

    func redelivers() async throws {
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

    func sharesAndTakesOver() async throws {
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

    func fencesTheLate() async throws {
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
    func commitStubbornly(_ completions: [Completion], by probe: GroupProbe) async throws
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
    func forgetsEarlierStays() async throws {
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
    func remembersPatterns() async throws {
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
    func seen(
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
    func chains() async throws {
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

    func pauses() async throws {
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
