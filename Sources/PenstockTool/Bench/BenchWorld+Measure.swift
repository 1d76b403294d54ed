import Glibc
import KafkaLog
import Pipeline
import Synchronization
import Topics

extension BenchWorld {
    struct Rate: Sendable {
        let count: Int
        let wall: Duration
        let processor: Duration

        var perSecond: Double { Double(count) / wall.inSeconds }
        /// Milliseconds of processor time for each.
        var processorMilliseconds: Double { processor.inSeconds * 1_000 / Double(count) }
        var perProcessorSecond: Double { Double(count) / processor.inSeconds }
    }

    /// Runs the turns of events that are on the log already.
    func turns(_ load: Load, group: String) async throws -> Rate {
        log.expect(load.turns)
        let stages = try (0..<load.workers).map { _ in try stage(load) }
        let runners = stages.enumerated().map { index, stage in
            runner(stage, group: group, member: "w\(index)", load)
        }
        await withTaskGroup { tasks in
            for runner in runners { tasks.addTask { await runner.run() } }
            await log.whenDone()
            for runner in runners { runner.stop() }
        }
        let marks = log.marks
        return Rate(count: load.turns, wall: marks.wall, processor: marks.processor)
    }

    /// The same events through consume, produce and commit alone: on Kafka by librdkafka itself, else by the
    /// log's consumer.
    func floor(_ load: Load, group: String) async throws -> Rate {
        let value = [UInt8](repeating: 0x78, count: 500)
        guard let kafka else { return try await echo(load, group: group, value) }
        let input = full(EventsTopic.topic)
        let output = full(RepliesTopic.topic)
        return try await onThread {
            var start = (ContinuousClock.now, MeasuredLog.processor())
            try KafkaFloor.run(
                kafka,
                group: "\(prefix)\(group)",
                from: input,
                to: output,
                value: value,
                count: load.turns
            ) { start = (ContinuousClock.now, MeasuredLog.processor()) }
            return Rate(
                count: load.turns,
                wall: ContinuousClock.now - start.0,
                processor: MeasuredLog.processor() - start.1
            )
        }
    }

    private func echo(_ load: Load, group: String, _ value: [UInt8]) async throws -> Rate {
        log.expect(load.turns)
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
        let marks = log.marks
        return Rate(count: load.turns, wall: marks.wall, processor: marks.processor)
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

    private func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws
        -> Value
    {
        try await withCheckedThrowingContinuation { continuation in
            let work = ThreadWork { continuation.resume(with: Result(catching: body)) }
            var thread = pthread_t()
            pthread_create(
                &thread,
                nil,
                { context in
                    guard let context else { return nil }
                    Unmanaged<ThreadWork>.fromOpaque(context).takeRetainedValue().body()
                    return nil
                },
                Unmanaged.passRetained(work).toOpaque()
            )
            pthread_detach(thread)
        }
    }
}

private final class ThreadWork: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
