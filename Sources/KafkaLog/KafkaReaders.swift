import Pipeline
import Synchronization

/// The readers of a log, made when they are needed: a request that waits for what comes keeps no other from
/// its partition.
final class KafkaReaders: Sendable {
    private struct State {
        var scanner: KafkaReader?
        var tails: [(reader: KafkaReader, busy: [TopicPartition: Int])] = []
        var isClosed = false
    }

    private static let tailsMax = 8
    /// For an answer that is not to wait for new records.
    private static let scanWithin: Duration = .seconds(15)

    private let settings: KafkaSettings
    private let state = Mutex(State())

    init(_ settings: KafkaSettings) {
        self.settings = settings
    }

    /// What is there from the offset to the target; records come before that as soon as there are some.
    func scan(_ place: TopicPartition, from: Int64, to target: Int64, recordsMax: Int)
        async throws(EventLogError) -> LogPage
    {
        let reader = try state.withLock { state throws(EventLogError) -> KafkaReader in
            if state.isClosed { throw EventLogError(.closed, "the log was closed") }
            if let reader = state.scanner { return reader }
            let reader = try KafkaReader(settings)
            state.scanner = reader
            return reader
        }
        let deadline = ContinuousClock.now + Self.scanWithin
        return try await read(reader, place, from, target, recordsMax, deadline)
    }

    /// What comes from the offset on, or nothing by the deadline.
    func tail(_ place: TopicPartition, from: Int64, recordsMax: Int, until deadline: ContinuousClock.Instant)
        async throws(EventLogError) -> LogPage
    {
        let index = try state.withLock { state throws(EventLogError) -> Int in
            if state.isClosed { throw EventLogError(.closed, "the log was closed") }
            var index = state.tails.firstIndex { $0.busy[place] == nil }
            if index == nil, state.tails.count < Self.tailsMax {
                state.tails.append((try KafkaReader(settings), [:]))
                index = state.tails.count - 1
            }
            let chosen = index ?? 0
            state.tails[chosen].busy[place, default: 0] += 1
            return chosen
        }
        defer {
            state.withLock { state in
                guard state.tails.indices.contains(index), let count = state.tails[index].busy[place] else {
                    return
                }
                state.tails[index].busy[place] = count > 1 ? count - 1 : nil
            }
        }
        guard let reader = state.withLock({ $0.tails.indices.contains(index) ? $0.tails[index].reader : nil })
        else { throw EventLogError(.closed, "the log was closed") }
        return try await read(reader, place, from, nil, recordsMax, deadline)
    }

    private func read(
        _ reader: KafkaReader,
        _ place: TopicPartition,
        _ from: Int64,
        _ target: Int64?,
        _ recordsMax: Int,
        _ deadline: ContinuousClock.Instant
    ) async throws(EventLogError) -> LogPage {
        let cancellation = KafkaReader.Cancellation()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation {
                (continuation: CheckedContinuation<Result<LogPage, EventLogError>, Never>) in
                reader.submit(
                    KafkaReader.Request(
                        place: place,
                        from: from,
                        recordsMax: recordsMax,
                        target: target,
                        deadline: deadline,
                        cancellation: cancellation,
                        done: { continuation.resume(returning: $0) }
                    )
                )
            }
        } onCancel: {
            cancellation.set()
            reader.wake()
        }
        return try result.get()
    }

    func close(within limit: Duration) async {
        let readers = state.withLock { state in
            state.isClosed = true
            defer {
                state.scanner = nil
                state.tails = []
            }
            return [state.scanner].compactMap(\.self) + state.tails.map(\.reader)
        }
        for reader in readers { _ = await reader.close(within: limit) }
    }
}
