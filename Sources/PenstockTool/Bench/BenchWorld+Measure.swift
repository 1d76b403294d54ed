import KafkaLog
import Pipeline
import Topics

extension BenchWorld {
    /// Of the topics, where workers are to have as many each.
    static let sharedPartitions = 16

    struct Rate: Sendable {
        let count: Int
        let wall: Duration
        let processor: Duration

        var perSecond: Double { Double(count) / wall.inSeconds }
        /// Milliseconds of processor time for each.
        var processorMilliseconds: Double { processor.inSeconds * 1_000 / Double(count) }
        var perProcessorSecond: Double { Double(count) / processor.inSeconds }
    }

    /// What the log has seen since it was told what to expect.
    private func rate(_ load: Load) -> Rate {
        let marks = log.marks
        return Rate(count: load.turns, wall: marks.wall, processor: marks.processor)
    }

    /// Runs the turns of events that are on the log already; `feeding`: of events that come once the workers
    /// have shared the partitions.
    func turns(_ load: Load, group: String, feeding: Bool = false) async throws -> Rate {
        log.expect(load.turns)
        let stages = try (0..<load.workers).map { _ in try stage(load) }
        let runners = stages.enumerated().map { index, stage in
            runner(stage, group: group, member: "w\(index)", load)
        }
        try await withThrowingTaskGroup { tasks in
            for runner in runners { tasks.addTask { await runner.run() } }
            if feeding {
                try await log.whenShared(by: load.workers, partitions: Self.sharedPartitions, time: time)
                try await produce(load)
            }
            await log.whenDone()
            for runner in runners { runner.stop() }
        }
        return rate(load)
    }

    /// The same events through consume, produce and commit alone: on Kafka by librdkafka itself, else by the
    /// log's consumer.
    func floor(_ load: Load, group: String) async throws -> Rate {
        let value = [UInt8](repeating: 0x78, count: 500)
        log.expect(load.turns)
        if let kafka {
            try await KafkaFloor.run(
                kafka,
                group: "\(prefix)\(group)",
                from: full(EventsTopic.topic),
                to: full(RepliesTopic.topic),
                value: value,
                count: load.turns
            ) { [log] in log.came() }
            log.committed(load.turns)
        } else {
            try await echo(load, group: group, value)
        }
        return rate(load)
    }

    private func echo(_ load: Load, group: String, _ value: [UInt8]) async throws {
        let membership = GroupMembership(
            group: "\(prefix)\(group)",
            topics: [full(EventsTopic.topic)],
            member: "floor"
        )
        let consumer = try await log.join(membership)
        let output = full(RepliesTopic.topic)
        while log.marks.committed < load.turns {
            guard case .records(let assignment, let records) = try await consumer.next() else { continue }
            _ = try await consumer.commit(
                records.map { record in
                    let key = String(decoding: record.key, as: UTF8.self)
                    return Completion(
                        assignment: assignment,
                        offset: record.offset,
                        outputs: [NewRecord(topic: output, key: key, value: value)]
                    )
                }
            )
        }
        await consumer.leave()
    }

    /// Conditional puts of a slot's size, at the same concurrency.
    func puts(_ load: Load) async throws -> Rate {
        let body = [UInt8](repeating: 0x78, count: 3_000)
        let run = chance.identifier()
        let start = (ContinuousClock.now, MeasuredLog.processor())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<load.turns {
                if number >= load.inFlight { try await group.next() }
                let key =
                    "c/\(String(number % load.conversations + 0x1000_0000, radix: 16))/\(run)/t/\(number)"
                group.addTask { [store] in _ = try await store.put(key, body, if: .absent) }
            }
            try await group.waitForAll()
        }
        return Rate(
            count: load.turns,
            wall: ContinuousClock.now - start.0,
            processor: MeasuredLog.processor() - start.1
        )
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
