import Pipeline
import Synchronization
import Testing
import Topics

@Suite("A runner and its consumer")
struct RunnerConsumerTests {
    private func runner(_ log: ScriptedConsumer, _ stage: CountingStage, _ time: TimeSource) -> Runner {
        Runner(
            log: log,
            membership: GroupMembership(group: "g", topics: ["t"], member: "m"),
            stage: stage,
            settings: Runner.Settings(
                limits: Dispatch.Limits(inFlightMax: 10, queuedBytesMax: 1 << 20),
                stopWithin: .seconds(1),
                revokeWithin: .seconds(1)
            ),
            time: time
        )
    }

    @Test("whoever is replaced under its name over and over stays away")
    func replaced() async {
        let log = ScriptedConsumer(fails: EventLogError(.fenced, "another m"))
        let runner = runner(
            log,
            CountingStage(),
            TimeSource(now: { Timestamp(milliseconds: 0) }, sleep: { _ in })
        )

        await runner.run()

        #expect(runner.wasReplaced?.detail == "another m")
        #expect(log.joins == 3)
        #expect(!runner.currentHealth.isReady)
    }

    @Test("a member that is shut out now and then has no rival")
    func fencings() {
        let start = Timestamp(milliseconds: 0)
        var fencings = Fencings()

        let rivals = [0, 1, 120, 120].map { fencings.add(at: start + .seconds($0)) }

        #expect(rivals == [false, false, false, true])
    }

    @Test("what finishes within the spacing after a commit shares the next one")
    func spacing() async {
        let log = ScriptedConsumer(fails: nil)
        let (sleeps, slept) = AsyncStream.makeStream(of: Void.self)
        let (wakes, wake) = AsyncStream.makeStream(of: Void.self)
        let time = TimeSource(
            now: { Timestamp(milliseconds: 0) },
            sleep: { duration in
                guard duration == log.commitSpacing else { return }
                slept.yield()
                for await _ in wakes { break }
            }
        )
        let stage = CountingStage()
        let runner = runner(log, stage, time)

        let running = Task { await runner.run() }
        var handled = stage.handled.makeAsyncIterator()
        var sleep = sleeps.makeAsyncIterator()
        log.give(0)
        _ = await handled.next()
        _ = await sleep.next()
        log.give(1)
        _ = await handled.next()
        log.give(2)
        _ = await handled.next()
        wake.finish()
        _ = await sleep.next()
        runner.stop()
        await running.value

        #expect(log.commits == [[0], [1, 2]])
    }
}

/// Gives no outputs, and tells of every record.
private final class CountingStage: RecordStage {
    let handled: AsyncStream<Void>
    private let told: AsyncStream<Void>.Continuation

    init() {
        (handled, told) = AsyncStream.makeStream(of: Void.self)
    }

    func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]? {
        told.yield()
        return []
    }

    func refused(_ record: LogRecord, detail: String) -> [NewRecord] { [] }
}

/// One partition whose records a test gives; or a member that is shut out at once.
private final class ScriptedConsumer: StandInLog {
    let commitSpacing: Duration = .milliseconds(15)
    private let failure: EventLogError?
    private let events: AsyncStream<ConsumerEvent>
    private let event: AsyncStream<ConsumerEvent>.Continuation
    private let state = Mutex<(joins: Int, commits: [[Int64]])>((0, []))
    private let assignment = Assignment(
        partition: TopicPartition("t", 0),
        progress: Progress(low: 0),
        freshFrom: 0
    )

    init(fails failure: EventLogError?) {
        self.failure = failure
        (events, event) = AsyncStream.makeStream(of: ConsumerEvent.self)
        event.yield(.assigned([assignment]))
    }

    var joins: Int { state.withLock { $0.joins } }
    var commits: [[Int64]] { state.withLock { $0.commits } }

    func give(_ offset: Int64) {
        let record = LogRecord(
            position: RecordPosition(assignment.partition, offset),
            time: Timestamp(milliseconds: 0),
            key: Array("key\(offset)".utf8),
            headers: [],
            value: []
        )
        event.yield(.records(assignment, [record]))
    }

    func next() async throws(EventLogError) -> ConsumerEvent {
        if let failure { throw failure }
        for await event in events { return event }
        return .left
    }

    func leave() async { event.finish() }
    func join(_ membership: GroupMembership) async throws(EventLogError) -> any LogConsumer {
        state.withLock { $0.joins += 1 }
        return self
    }
    func commit(_ completions: [Completion]) async throws(EventLogError) -> [Completion] {
        state.withLock { $0.commits.append(completions.map(\.offset)) }
        return completions
    }
}
