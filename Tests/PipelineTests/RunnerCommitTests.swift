import Pipeline
import Synchronization
import Testing
import Topics

@Suite("A runner's commits")
struct RunnerCommitTests {
    @Test(
        "outputs that the log can never store become a dead letter; what stood beside them takes effect once"
    )
    func refused() async {
        let log = StrictLog(records: 6, refusing: [1, 4])
        let runner = Self.runner(log)
        let running = Task { await runner.run() }
        await log.finished()
        runner.stop()
        await running.value

        let committed = log.committed
        #expect(committed.count == 6 && Set(committed.map(\.offset)) == Set(0..<6))
        for completion in committed {
            let isRefused = [1, 4].contains(completion.offset)
            #expect(
                completion.outputs.map { String(decoding: $0.value, as: UTF8.self) }
                    == [isRefused ? "letter \(completion.offset)" : "output \(completion.offset)"]
            )
        }
    }

    @Test(
        "a log that is away for a while takes every completion once it is back, those of a half-done commit too"
    )
    func unavailable() async {
        let log = StrictLog(records: 6, refusing: [2], failingCalls: [1, 4])
        let runner = Self.runner(log)
        let running = Task { await runner.run() }
        await log.finished()
        runner.stop()
        await running.value

        #expect(log.committed.map(\.offset).sorted() == Array(0..<6))
    }

    private static func runner(_ log: StrictLog) -> Runner {
        Runner(
            log: log,
            membership: GroupMembership(group: "g", topics: ["t"], member: "m"),
            stage: Echo(),
            settings: Runner.Settings(
                limits: Dispatch.Limits(inFlightMax: 100, queuedBytesMax: 1 << 20),
                stopWithin: .seconds(60),
                revokeWithin: .seconds(60)
            ),
            // Waits end at once, but for those that are there for what hangs.
            time: TimeSource(
                now: { Timestamp(milliseconds: 0) },
                sleep: { duration in
                    guard duration > .seconds(5) else { return await Task.yield() }
                    var never = AsyncStream<Void> { _ in }.makeAsyncIterator()
                    _ = await never.next()
                }
            )
        )
    }
}

private struct Echo: RecordStage {
    func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]? {
        [NewRecord(topic: "o", key: "k", value: Array("output \(record.offset)".utf8))]
    }

    func refused(_ record: LogRecord, detail: String) -> [NewRecord] {
        [NewRecord(topic: "d", key: "k", value: Array("letter \(record.offset)".utf8))]
    }
}

/// One partition; refuses the first outputs of some offsets, and is not there for some calls of `commit`.
private final class StrictLog: StandInLog {
    private struct State {
        var committed: [Completion] = []
        var calls = 0
        var isDelivered = false
        var isAssigned = false
    }

    private let count: Int
    private let refusing: Set<Int64>
    private let failingCalls: Set<Int>
    private let state = Mutex(State())
    private let assignment = Assignment(
        partition: TopicPartition("t", 0),
        progress: Progress(low: 0),
        freshFrom: 0
    )
    private let left = AsyncStream.makeStream(of: Void.self)
    private let done = AsyncStream.makeStream(of: Void.self)

    init(records: Int, refusing: Set<Int64>, failingCalls: Set<Int> = []) {
        count = records
        self.refusing = refusing
        self.failingCalls = failingCalls
    }

    var committed: [Completion] { state.withLock { $0.committed } }

    func finished() async {
        var iterator = done.stream.makeAsyncIterator()
        _ = await iterator.next()
    }

    func next() async throws(EventLogError) -> ConsumerEvent {
        let step = state.withLock { state -> Int in
            if !state.isAssigned {
                state.isAssigned = true
                return 0
            }
            defer { state.isDelivered = true }
            return state.isDelivered ? 2 : 1
        }
        switch step {
        case 0: return .assigned([assignment])
        case 1:
            let records = (0..<Int64(count)).map { offset in
                LogRecord(
                    position: RecordPosition(assignment.partition, offset),
                    time: Timestamp(milliseconds: 0),
                    key: Array("k\(offset % 3)".utf8),
                    headers: [],
                    value: []
                )
            }
            return .records(assignment, records)
        default:
            var leaving = left.stream.makeAsyncIterator()
            _ = await leaving.next()
            return .left
        }
    }

    func commit(_ completions: [Completion]) async throws(EventLogError) -> [Completion] {
        let error = state.withLock { state -> EventLogError? in
            state.calls += 1
            if failingCalls.contains(state.calls) { return EventLogError(.unavailable, "away") }
            let isRefused = completions.contains { completion in
                refusing.contains(completion.offset) && completion.outputs.contains { $0.topic == "o" }
            }
            if isRefused { return EventLogError(.invalid, "too large") }
            state.committed += completions
            if state.committed.count == count { done.continuation.finish() }
            return nil
        }
        if let error { throw error }
        return completions
    }

    func leave() async { left.continuation.finish() }
}
