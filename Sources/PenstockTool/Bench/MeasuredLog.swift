import Glibc
import Pipeline
import Synchronization
import Topics

/// A log that notes when its group's first records came, and when as many as wanted were committed.
final class MeasuredLog: EventLog {
    struct Marks: Sendable {
        var committed = 0
        var first: (at: ContinuousClock.Instant, processor: Duration)?
        var last: (at: ContinuousClock.Instant, processor: Duration)?

        /// From the first record to the last commit, by the clock and by the processor.
        var wall: Duration { first.flatMap { first in last.map { $0.at - first.at } } ?? .zero }
        var processor: Duration {
            first.flatMap { first in last.map { $0.processor - first.processor } } ?? .zero
        }
    }

    private struct State {
        var marks = Marks()
        var wanted = 0
        var waiting: CheckedContinuation<Void, Never>?
        /// By member, how many partitions it has.
        var held: [String: Int] = [:]
    }

    let base: any EventLog
    private let state = Mutex(State())

    init(_ base: any EventLog) {
        self.base = base
    }

    var marks: Marks { state.withLock { $0.marks } }

    /// Starts anew; `whenDone` returns after so many commits.
    func expect(_ wanted: Int) {
        state.withLock { state in
            state.marks = Marks()
            state.wanted = wanted
        }
    }

    func whenDone() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.marks.committed < state.wanted { state.waiting = continuation }
                return state.marks.committed >= state.wanted
            }
            if isDone { continuation.resume() }
        }
    }

    func came() {
        state.withLock { state in
            if state.marks.first == nil { state.marks.first = (.now, Self.processor()) }
        }
    }

    func committed(_ count: Int) {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.marks.committed += count
            guard state.marks.committed >= state.wanted else { return nil }
            if state.marks.last == nil { state.marks.last = (.now, Self.processor()) }
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume()
    }

    func holds(_ change: Int, member: String) {
        state.withLock { $0.held[member, default: 0] += change }
    }

    /// Returns when so many members have as many partitions each as the others, all of them together.
    func whenShared(by members: Int, partitions: Int, time: TimeSource) async throws {
        while !state.withLock({ state in
            state.held.values.filter { $0 == partitions / members }.count == members
        }) {
            try await time.sleep(.milliseconds(50))
        }
    }

    /// What this process has used so far.
    static func processor() -> Duration {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        return .seconds(seconds) + .microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
    }

    var identity: String { base.identity }
    var recordBytesMax: Int { base.recordBytesMax }
    func prepare(_ topics: [Topic]) async throws(EventLogError) { try await base.prepare(topics) }
    func append(_ records: [NewRecord]) async throws(EventLogError) -> [RecordPosition] {
        try await base.append(records)
    }
    func read(
        _ partition: TopicPartition,
        from offset: Int64,
        recordsMax: Int,
        wait: Duration
    ) async throws(EventLogError) -> LogPage {
        try await base.read(partition, from: offset, recordsMax: recordsMax, wait: wait)
    }
    func bounds(of topic: String) async throws(EventLogError) -> [LogBounds] {
        try await base.bounds(of: topic)
    }
    func progress(of group: String, in topic: String) async throws(EventLogError) -> [Progress] {
        try await base.progress(of: group, in: topic)
    }
    func join(_ membership: GroupMembership) async throws(EventLogError) -> any LogConsumer {
        MeasuredConsumer(log: self, base: try await base.join(membership), member: membership.member)
    }
    func check() async throws(EventLogError) { try await base.check() }
    func close() async { await base.close() }
}

private struct MeasuredConsumer: LogConsumer {
    let log: MeasuredLog
    let base: any LogConsumer
    let member: String

    func next() async throws(EventLogError) -> ConsumerEvent {
        let event = try await base.next()
        switch event {
        case .records: log.came()
        case .assigned(let assignments): log.holds(assignments.count, member: member)
        case .revoked(let assignments), .lost(let assignments): log.holds(-assignments.count, member: member)
        case .left: break
        }
        return event
    }

    func commit(_ completions: [Completion]) async throws(EventLogError) -> [Completion] {
        let done = try await base.commit(completions)
        log.committed(done.count)
        return done
    }

    func pause(_ assignment: Assignment) async { await base.pause(assignment) }
    func resume(_ assignment: Assignment) async { await base.resume(assignment) }
    func release(_ assignments: [Assignment]) async { await base.release(assignments) }
    var commitSpacing: Duration { base.commitSpacing }
    func leave() async { await base.leave() }
}
