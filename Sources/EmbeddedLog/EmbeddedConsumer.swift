import Pipeline
import Synchronization
import Telemetry
import Topics

/// A member of a group on the embedded log.
///
/// Every partition has a lease in the database: who holds it, and a fence number that rises with every
/// holder. A commit checks the fences of all its partitions inside its transaction, so whoever lost one can
/// never write.
final class EmbeddedConsumer: LogConsumer {
    /// A member that has not been seen for so long has lost its partitions, though its process may live.
    static let leaseMilliseconds: Int64 = 10_000
    private static let tick: Duration = .seconds(1)
    private static let recordsMax = 500

    let log: EmbeddedLog
    let membership: GroupMembership
    let partitions: [TopicPartition: EmbeddedLog.StoredTopic]
    let session: Session
    let watch: Bell.Watch
    let logger = Logger(label: "log.group")
    let state = Mutex(State())

    struct Holding {
        let assignment: Assignment
        let fence: Int64
        /// The next offset to deliver.
        var position: Int64
        var isPaused = false
        var isRevoked = false
    }

    struct State {
        var holdings: [TopicPartition: Holding] = [:]
        var events: [ConsumerEvent] = []
        var lastTick: ContinuousClock.Instant?
        var turn = 0
        var hasLeft = false
    }

    init(
        _ log: EmbeddedLog,
        membership: GroupMembership,
        partitions: [TopicPartition: EmbeddedLog.StoredTopic],
        session: Session
    ) {
        self.log = log
        self.membership = membership
        self.partitions = partitions
        self.session = session
        watch = log.bell.watch()
    }

    deinit {
        log.bell.unwatch(watch)
    }

    func next() async throws(EventLogError) -> ConsumerEvent {
        while true {
            if let event = state.withLock({
                $0.hasLeft ? .left : $0.events.isEmpty ? nil : $0.events.removeFirst()
            }) {
                return event
            }
            if isTickDue {
                try await balance()
                continue
            }
            if let event = try await fetch() { return event }
            guard await watch.next() else {
                guard !state.withLock({ $0.hasLeft }) else { continue }
                throw EventLogError(.closed, "the log was closed")
            }
        }
    }

    func pause(_ assignment: Assignment) async { setPaused(assignment, true) }
    func resume(_ assignment: Assignment) async { setPaused(assignment, false) }

    private func setPaused(_ assignment: Assignment, _ isPaused: Bool) {
        state.withLock { state in
            guard state.holdings[assignment.partition]?.assignment === assignment else { return }
            state.holdings[assignment.partition]?.isPaused = isPaused
        }
        log.bell.ring()
    }

    func release(_ assignments: [Assignment]) async {
        let given = state.withLock { state in
            let given = assignments.compactMap { state.holdings[$0.partition] }.filter { holding in
                assignments.contains { $0 === holding.assignment }
            }
            for holding in given { state.holdings[holding.assignment.partition] = nil }
            return given
        }
        await free(given)
    }

    func leave() async {
        let given = state.withLock { state in
            state.hasLeft = true
            defer { state.holdings = [:] }
            return Array(state.holdings.values)
        }
        await free(given)
        let (group, session) = (membership.group, session.name)
        do throws(EventLogError) {
            try await log.writer.run { database throws(EventLogError) in
                try database.run(
                    "DELETE FROM members WHERE consumers = ? AND session = ?",
                    [.text(group), .text(session)]
                )
            }
        } catch {
            logger.warning("Group not left in order", metadata: ["error": error.detail])
        }
        log.bell.ring()
    }

    /// Lets others have the partitions at once; when that fails they have them after the lease.
    private func free(_ holdings: [Holding]) async {
        guard !holdings.isEmpty else { return }
        for holding in holdings { holding.assignment.end() }
        let group = membership.group
        let leases = holdings.compactMap { holding in
            partitions[holding.assignment.partition].map {
                ($0.id, holding.assignment.partition.partition, holding.fence)
            }
        }
        do throws(EventLogError) {
            try await log.writer.run { database throws(EventLogError) in
                for (topic, partition, fence) in leases {
                    try database.run(
                        """
                        UPDATE leases SET session = ''
                        WHERE consumers = ? AND topic = ? AND partition = ? AND fence = ?
                        """,
                        [.text(group), .integer(topic), .integer(Int64(partition)), .integer(fence)]
                    )
                }
            }
        } catch {
            logger.warning("Partitions not given back in order", metadata: ["error": error.detail])
        }
        log.bell.ring()
    }

    private var isTickDue: Bool {
        state.withLock { state in
            guard let last = state.lastTick else { return true }
            return ContinuousClock.now - last >= Self.tick
        }
    }
}

// Delivering.
extension EmbeddedConsumer {
    /// The next records of one held partition, taking the partitions in turn.
    private func fetch() async throws(EventLogError) -> ConsumerEvent? {
        let wanted = state.withLock { state in
            state.turn += 1
            let open = state.holdings.values.filter { !$0.isPaused && !$0.isRevoked && $0.assignment.isAlive }
                .sorted { $0.assignment.partition < $1.assignment.partition }
            let start = open.isEmpty ? 0 : state.turn % open.count
            return (open[start...] + open[..<start]).map { ($0.assignment, $0.position) }
        }
        guard !wanted.isEmpty else { return nil }
        let queries = wanted.compactMap { assignment, position in
            partitions[assignment.partition].map { ($0, assignment.partition, position) }
        }
        let found = try await log.reader.run { database throws(EventLogError) -> LogPage? in
            for (topic, partition, position) in queries {
                let page = try EmbeddedLog.page(
                    topic,
                    partition,
                    from: position,
                    recordsMax: Self.recordsMax,
                    in: database
                )
                if !page.records.isEmpty { return page }
            }
            return nil
        }
        guard let page = found, let partition = page.records.first?.position.partition else { return nil }
        return state.withLock { state in
            guard let holding = state.holdings[partition], !holding.isRevoked, holding.assignment.isAlive
            else { return nil }
            state.holdings[partition]?.position = page.next
            return .records(holding.assignment, page.records)
        }
    }
}

// Committing.
extension EmbeddedConsumer {
    func commit(_ completions: [Completion]) async throws(EventLogError) -> [Completion] {
        for completion in completions { try log.check(completion.outputs) }
        let held = state.withLock { $0.holdings }
        let alive = completions.filter { completion in
            completion.assignment.isAlive
                && completion.assignment.isSame(as: held[completion.assignment.partition]?.assignment)
        }
        guard !alive.isEmpty else { return [] }
        var entries: [CommitPlan.Entry] = []
        var leases: [TopicPartition: CommitPlan.Lease] = [:]
        for completion in alive {
            let partition = completion.assignment.partition
            let outputs = try await log.place(completion.outputs)
            entries.append(
                CommitPlan.Entry(partition: partition, offset: completion.offset, outputs: outputs)
            )
            guard leases[partition] == nil, let topic = partitions[partition], let holding = held[partition]
            else { continue }
            leases[partition] = CommitPlan.Lease(
                topic: topic.id,
                fence: holding.fence,
                progress: holding.assignment.progress
            )
        }
        let plan = CommitPlan(
            group: membership.group,
            session: session.name,
            entries: entries,
            leases: leases,
            now: log.time.now(),
            faults: log.faults
        )
        await log.faults.reach(.beginBefore)
        let result = try await log.writer.run { database throws(EventLogError) in try plan.apply(to: database)
        }
        await log.faults.reach(.commitAfter)
        log.bell.ring()
        lose(result.lost)
        for (partition, progress) in result.progress { held[partition]?.assignment.advance(to: progress) }
        return alive.filter { !result.lost.contains($0.assignment.partition) }
    }

    func lose(_ lost: Set<TopicPartition>) {
        guard !lost.isEmpty else { return }
        state.withLock { state in
            let gone = lost.compactMap { state.holdings.removeValue(forKey: $0)?.assignment }
            for assignment in gone { assignment.end() }
            if !gone.isEmpty { state.events.append(.lost(gone)) }
        }
    }
}
