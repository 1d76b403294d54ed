import Pipeline
import Synchronization
import Testing
import Topics

@Suite("A runner's health")
struct RunnerHealthTests {
    @Test("after an error an idle runner is ready again, without any event")
    func recovers() async {
        let slept = AsyncStream.makeStream(of: Void.self)
        let log = StumblingLog()
        let runner = Runner(
            log: log,
            membership: GroupMembership(group: "g", topics: ["t"], member: "m"),
            stage: NoStage(),
            settings: Runner.Settings(
                limits: Dispatch.Limits(inFlightMax: 1, queuedBytesMax: 1),
                stopWithin: .seconds(1),
                revokeWithin: .seconds(1)
            ),
            time: TimeSource(now: { Timestamp(milliseconds: 0) }, sleep: { _ in slept.continuation.yield() })
        )

        let running = Task { await runner.run() }
        var calls = log.calls.makeAsyncIterator()
        let first = await calls.next()
        let second = await calls.next()
        let isReady = runner.currentHealth.isReady
        runner.stop()
        await running.value

        #expect(first == 1 && second == 2)
        #expect(isReady)
    }
}

private struct NoStage: RecordStage {
    func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]? { nil }
    func refused(_ record: LogRecord, detail: String) -> [NewRecord] { [] }
}

/// A log whose first `next` fails, and whose second waits until the member leaves.
private final class StumblingLog: StandInLog {
    let calls: AsyncStream<Int>
    private let called: AsyncStream<Int>.Continuation
    private let count = Mutex(0)
    private let left = AsyncStream.makeStream(of: Void.self)

    init() {
        (calls, called) = AsyncStream.makeStream(of: Int.self)
    }

    func next() async throws(EventLogError) -> ConsumerEvent {
        let number = count.withLock {
            $0 += 1
            return $0
        }
        called.yield(number)
        if number == 1 { throw EventLogError(.unavailable, "the disk is full") }
        var leaving = left.stream.makeAsyncIterator()
        _ = await leaving.next()
        return .left
    }

    func leave() async { left.continuation.finish() }
}
