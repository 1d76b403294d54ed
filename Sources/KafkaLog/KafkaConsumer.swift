import CRDKafka
import Pipeline
import Synchronization
import Telemetry

/// A member of a group on Kafka: one thread polls and rebalances, another commits.
///
/// A commit is fenced by the group metadata that was taken at the last assign or revoke, together with the
/// assignments that were alive then: whatever happened since makes the broker refuse it.
final class KafkaConsumer: LogConsumer {
    /// Right after a commit the coordinator still writes its markers, and refuses for 10 ms and more what
    /// comes too soon. A broker that is slow is given longer.
    private static let spacings = Duration.milliseconds(4)...(.milliseconds(15))
    /// Without a commit for so long, another start is the better chance.
    private static let patience: Duration = .seconds(30)

    struct State {
        var holdings: [TopicPartition: Holding] = [:]
        var fence: GroupMetadata?
        /// Partitions of which the last commit is not known to have taken effect, nor not to.
        var doubtful: Set<TopicPartition> = []
        var commands: [Command] = []
        /// How long the newest commit was under way.
        var commitTook = Duration.zero
        /// The first of the failed commits since one succeeded.
        var failingSince: ContinuousClock.Instant?
        /// When the commit that is under way began.
        var commitSince: ContinuousClock.Instant?
        /// When a broker last went or did not answer in time.
        var missedBrokerAt: ContinuousClock.Instant?
        var hasLeft = false
        /// The thread is to end.
        var isLeaving = false
        var isCommitStuck = false

        /// Who is shut out after a broker was missing may have shut itself out (`Fencings`): that alone is no
        /// sign of a rival, and joining again mends it.
        func judged(_ error: EventLogError, now: ContinuousClock.Instant) -> EventLogError {
            guard error.kind == .fenced, let missedBrokerAt, now - missedBrokerAt < aftermath else {
                return error
            }
            return EventLogError(.closed, "\(error.detail), after a broker was missing")
        }

        /// librdkafka 2.0.2 may never come back from a call though it has a limit
        /// (`send_offsets_to_transaction`, seen while brokers went): only new clients help then.
        func stuckCommit(now: ContinuousClock.Instant) -> EventLogError? {
            guard let commitSince, now - commitSince > commitWithin else { return nil }
            return EventLogError(.closed, "no answer to a commit for \(commitWithin): starting over")
        }
    }

    /// More than the calls of one commit may take together.
    static let commitWithin: Duration = .seconds(45)
    /// What brokers that go do to a member shows within this.
    static let aftermath: Duration = .seconds(60)

    enum Command: Sendable {
        case pause(Assignment)
        case resume(Assignment)
        case release([Assignment])
    }

    let membership: GroupMembership
    /// Of the group's topics.
    let places: Set<TopicPartition>
    let isStatic: Bool
    let state = Mutex(State())
    let buffer = EventBuffer()
    let metrics: MemberMetrics
    let logger = Logger(label: "log.group")
    let over = Gate()
    let faults: FaultPoints
    private let check: @Sendable ([NewRecord]) async throws(EventLogError) -> Void
    private let producer: TransactionalProducer
    private let commits: JobThread<@Sendable () -> Void>
    let handle: KafkaHandle
    // Used by the member's thread, but for `rd_kafka_queue_yield`, which is for any.
    nonisolated(unsafe) private let queue: OpaquePointer

    /// Blocks for as long as `init_transactions` takes: for a thread of our own. `check` refuses outputs that
    /// the log can never store.
    init(
        _ membership: GroupMembership,
        _ settings: KafkaSettings,
        _ faults: FaultPoints,
        places: Set<TopicPartition>,
        check: @escaping @Sendable ([NewRecord]) async throws(EventLogError) -> Void
    ) throws(EventLogError) {
        self.membership = membership
        self.faults = faults
        self.places = places
        isStatic = settings.membership == .static
        self.check = check
        metrics = MemberMetrics(group: membership.group)
        let producer = TransactionalProducer(
            "\(membership.group)-\(membership.member)",
            settings,
            reports: false,
            faults: faults
        )
        self.producer = producer
        // First of all: it ends the transaction that a killed predecessor has left open.
        try producer.ready()
        let relay = Relay()
        do throws(EventLogError) {
            let instance = settings.membership == .static ? membership.member : nil
            handle = try KafkaHandle(
                .member(group: membership.group, instance: instance),
                settings,
                relay.callbacks
            )
        } catch {
            producer.destroy()
            throw error
        }
        guard let queue = rd_kafka_queue_get_consumer(handle.pointer) else {
            preconditionFailure("a consumer without a queue")
        }
        self.queue = queue
        commits = try JobThread(
            "kafka-commits",
            work: { jobs in for job in jobs { job() } },
            tick: { producer.poll() },
            end: { producer.destroy() }
        )
        rd_kafka_poll_set_consumer(handle.pointer)
        let loop = MemberLoop(self)
        relay.loop.withLock { $0 = loop }
        try subscribe()
        try KafkaThread.start("kafka-member") { [self] in
            loop.run()
            rd_kafka_queue_destroy(self.queue)
            over.open()
        }
    }

    /// librdkafka's calls, before there is somebody to take them and after.
    private final class Relay: Sendable {
        let loop = Mutex<MemberLoop?>(nil)

        var callbacks: KafkaHandle.Callbacks {
            KafkaHandle.Callbacks(
                error: { [self] code, words in current?.failed(code, words) },
                statistics: { [self] json in current?.statistics(json) },
                rebalance: { [self] code, partitions in current?.rebalance(code, partitions) }
            )
        }

        private var current: MemberLoop? { loop.withLock { $0 } }
    }

    func subscribe() throws(EventLogError) {
        let list = PartitionList(membership.topics.map { TopicPartition($0, -1) }, offset: -1)
        let code = rd_kafka_subscribe(handle.pointer, list.pointer)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError.error(code, "group \(membership.group)")
        }
    }

    func next() async throws(EventLogError) -> ConsumerEvent { try await buffer.next() }

    var commitSpacing: Duration { Self.spacing(after: state.withLock { $0.commitTook }) }

    /// Half of what the last commit took, within limits.
    static func spacing(after took: Duration) -> Duration {
        min(max(took / 2, spacings.lowerBound), spacings.upperBound)
    }

    func pause(_ assignment: Assignment) async { command(.pause(assignment)) }
    func resume(_ assignment: Assignment) async { command(.resume(assignment)) }
    func release(_ assignments: [Assignment]) async {
        for assignment in assignments { assignment.end() }
        command(.release(assignments))
    }

    private func command(_ command: Command) {
        let isTaken = state.withLock { state in
            guard !state.isLeaving else { return false }
            state.commands.append(command)
            return true
        }
        if isTaken { rd_kafka_queue_yield(queue) }
    }

    func leave() async {
        let isFirst = state.withLock { state in
            defer { state.hasLeft = true }
            return !state.hasLeft
        }
        guard isFirst else {
            _ = await over.wait(within: .seconds(20))
            return
        }
        // The commits' thread uses the consumer: it ends first.
        let hasStopped = await commits.stop(within: .seconds(8))
        state.withLock { state in
            state.isCommitStuck = !hasStopped
            state.isLeaving = true
            for holding in state.holdings.values { holding.assignment.end() }
        }
        rd_kafka_queue_yield(queue)
        let isOver = await over.wait(within: .seconds(12))
        buffer.leave()
        if !isOver || !hasStopped {
            logger.warning(
                "Group not left in order",
                metadata: ["group": membership.group, LogKeys.reason: "librdkafka does not come back"]
            )
        }
    }
}

// Committing.
extension KafkaConsumer {
    func commit(_ completions: [Completion]) async throws(EventLogError) -> [Completion] {
        try await check(completions.flatMap(\.outputs))
        for completion in completions
        where completion.assignment.isAlive && !completion.assignment.progress.accepts(completion.offset) {
            throw EventLogError(
                .invalid,
                "\(completion.assignment.partition)@\(completion.offset): too far ahead"
            )
        }
        await faults.reach(.beginBefore)
        state.withLock { $0.commitSince = .now }
        defer { state.withLock { $0.commitSince = nil } }
        do throws(EventLogError) {
            let done = try await commits.run { [self] () throws(EventLogError) in try commitNow(completions) }
            state.withLock { $0.failingSince = nil }
            await faults.reach(.commitAfter)
            return done
        } catch {
            throw lastResort(error)
        }
    }

    /// Clients that have not managed a commit for so long may be stuck, as librdkafka 2.0.2 is behind an
    /// unreachable coordinator: then new ones are wanted.
    private func lastResort(_ error: EventLogError) -> EventLogError {
        guard error.kind == .unavailable else { return state.withLock { $0.judged(error, now: .now) } }
        let since = state.withLock { state in
            let since = state.failingSince ?? .now
            state.failingSince = since
            return since
        }
        guard ContinuousClock.now - since > Self.patience else { return error }
        return EventLogError(.closed, "no commit for \(Self.patience): starting over (\(error.detail))")
    }

    private struct Plan {
        var taken: [Completion] = []
        var offsets: [TopicPartition: [Int64]] = [:]
        var entries: [(place: TopicPartition, progress: Progress)] = []
        var fence: GroupMetadata?
    }

    private func plan(_ completions: [Completion]) -> Plan {
        state.withLock { state in
            var plan = Plan()
            plan.taken = completions.filter { completion in
                completion.assignment.isAlive
                    && completion.assignment.isSame(
                        as: state.holdings[completion.assignment.partition]?.assignment
                    )
            }
            for completion in plan.taken {
                plan.offsets[completion.assignment.partition, default: []].append(completion.offset)
            }
            plan.entries = plan.offsets.sorted { $0.key < $1.key }.compactMap { place, offsets in
                state.holdings[place].map { (place, $0.progress(finishing: offsets)) }
            }
            plan.fence = faults.breaks(.noFence) ? .open(membership.group) : state.fence
            return plan
        }
    }

    /// On the commits' thread.
    private func commitNow(_ completions: [Completion]) throws(EventLogError) -> [Completion] {
        if let fatal = handle.fatal { throw KafkaError.error(fatal.code, membership.group, fatal.words) }
        let settled = try settleDoubts(completions)
        let plan = plan(completions.filter { completion in !settled.contains { $0.isSame(completion) } })
        guard !plan.taken.isEmpty else { return settled }
        guard let fence = plan.fence else {
            throw EventLogError(.unavailable, "group \(membership.group): not in a generation now")
        }
        let start = ContinuousClock.now
        defer { state.withLock { $0.commitTook = .now - start } }
        do throws(TransactionalProducer.Failure) {
            try producer.commit(
                plan.taken.flatMap(\.outputs).map { TransactionalProducer.Entry(record: $0) },
                TransactionalProducer.Offsets(entries: plan.entries, fence: fence)
            )
        } catch {
            if error.isOutcomeUnknown {
                state.withLock { $0.doubtful.formUnion(plan.offsets.keys) }
            }
            throw error.error
        }
        state.withLock { state in
            for (place, offsets) in plan.offsets
            where plan.taken.contains(where: { $0.assignment.isSame(as: state.holdings[place]?.assignment) })
            {
                state.holdings[place]?.finish(offsets)
            }
        }
        return settled + plan.taken
    }

    /// After a commit without an answer: the broker's word on what took effect. Returns those that did.
    private func settleDoubts(_ completions: [Completion]) throws(EventLogError) -> [Completion] {
        let doubtful = state.withLock { Array($0.doubtful) }
        guard !doubtful.isEmpty else { return [] }
        // Whatever was open is committed or aborted once this returns.
        try producer.ready()
        let found = try MemberLoop.committed(doubtful, by: handle, group: membership.group)
        return state.withLock { state in
            state.doubtful = []
            var settled: [Completion] = []
            for (place, progress) in found {
                guard let progress, let holding = state.holdings[place] else { continue }
                let done = completions.filter { completion in
                    completion.assignment === holding.assignment && holding.assignment.isAlive
                        && progress.isDone(completion.offset)
                        && !holding.assignment.isDone(completion.offset)
                }
                state.holdings[place]?.finish(done.map(\.offset))
                settled += done
            }
            return settled
        }
    }
}

extension Completion {
    fileprivate func isSame(_ other: Completion) -> Bool {
        assignment === other.assignment && offset == other.offset
    }
}
