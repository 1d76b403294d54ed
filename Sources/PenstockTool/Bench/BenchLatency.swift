import JSON
import Pipeline
import Synchronization
import Topics

/// When each event was handed to the log, by its id, and how long its reply took.
final class LatencyClock: Sendable {
    private struct State {
        var sent: [String: ContinuousClock.Instant] = [:]
        var seen: [(sent: ContinuousClock.Instant, took: Duration)] = []
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let wanted: Int
    private let state = Mutex(State())

    init(wanted: Int) {
        self.wanted = wanted
    }

    func sent(_ id: String) {
        state.withLock { $0.sent[id] = .now }
    }

    func seen(_ id: String) {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard let start = state.sent.removeValue(forKey: id) else { return nil }
            state.seen.append((start, .now - start))
            guard state.seen.count >= wanted else { return nil }
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume()
    }

    func whenDone() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.seen.count < wanted { state.waiting = continuation }
                return state.seen.count >= wanted
            }
            if isDone { continuation.resume() }
        }
    }

    /// Milliseconds; `share` from 0 to 1.
    func percentile(_ share: Double) -> Double {
        let sorted = state.withLock { $0.seen.map(\.took) }.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))].inSeconds * 1_000
    }

    /// Milliseconds.
    func longest(sentIn range: Range<ContinuousClock.Instant>) -> Double {
        let took = state.withLock { $0.seen.filter { range.contains($0.sent) }.map(\.took).max() }
        return (took ?? .zero).inSeconds * 1_000
    }
}

/// A turn without a turn: a reply's record, and nothing else.
struct EchoStage: RecordStage {
    let topic: String

    func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]? {
        var reply = Reply()
        reply.inResponseTo = record.header("ce_id").map { String(decoding: $0, as: UTF8.self) } ?? ""
        reply.text = String(repeating: "x", count: 400)
        return [
            NewRecord(topic: topic, key: String(decoding: record.key, as: UTF8.self), value: reply.json)
        ]
    }

    func refused(_ record: LogRecord, detail: String) -> [NewRecord] { [] }
}

extension BenchWorld {
    /// Events at a steady rate, each timed from the append's call to where a reader of what is committed sees
    /// its reply. The first tenth is not timed.
    func latency(_ load: Load, rate: Int, stage: any RecordStage, group name: String) async throws
        -> LatencyClock
    {
        let warmUp = load.turns / 10
        let clock = LatencyClock(wanted: load.turns - warmUp)
        let runner = runner(stage, group: name, member: "w0", load)
        async let running: Void = runner.run()
        try await time(load, rate: rate, notTimed: warmUp, by: clock)
        runner.stop()
        await running
        return clock
    }

    /// Sends the events and returns when each has its reply; `beside` goes on meanwhile.
    func time(
        _ load: Load,
        rate: Int,
        notTimed warmUp: Int = 0,
        by clock: LatencyClock,
        beside: @escaping @Sendable () async throws -> Void = {}
    ) async throws {
        let topic = full(RepliesTopic.topic)
        let starts = try await log.bounds(of: topic).map(\.next)
        try await withThrowingTaskGroup { group in
            for (partition, start) in starts.enumerated() {
                let place = TopicPartition(topic, Int32(partition))
                group.addTask { await follow(place, from: start, clock) }
            }
            group.addTask { await send(load, rate: rate, notTimed: warmUp, clock) }
            async let other: Void = beside()
            await clock.whenDone()
            try await other
            group.cancelAll()
        }
    }

    private func send(_ load: Load, rate: Int, notTimed: Int, _ clock: LatencyClock) async {
        let topic = full(EventsTopic.topic)
        let start = ContinuousClock.now
        await withDiscardingTaskGroup { group in
            for number in 0..<load.turns {
                // By the plan, not by the one before: a slow append must not slow down the others.
                let due = start + .seconds(Double(number) / Double(rate))
                // Cancelled only when all was seen.
                try? await time.sleep(due - .now)
                guard let event = try? event(number, of: number % load.conversations) else { continue }
                let record = event.record(topic: topic)
                if number >= notTimed { clock.sent(event.id) }
                // One that is not taken is never seen, and the benchmark says so by not ending.
                group.addTask { [log] in _ = try? await log.append([record]) }
            }
        }
    }

    private func follow(_ place: TopicPartition, from start: Int64, _ clock: LatencyClock) async {
        var offset = start
        while !Task.isCancelled {
            // What can not be read now is read again.
            guard
                let page = try? await log.read(place, from: offset, recordsMax: 500, wait: .seconds(1))
            else { continue }
            for record in page.records {
                // The floor's records and the turns' are both replies; another is passed over.
                if let reply = try? Reply(json: record.value) { clock.seen(reply.inResponseTo) }
            }
            offset = page.next
        }
    }
}
