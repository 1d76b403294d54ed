package import Pipeline
import Synchronization
import Telemetry
import Topics

// Sharing the partitions among the members.
extension EmbeddedConsumer {
    /// Says that we are here, sees who else is, and takes or gives up partitions accordingly.
    func balance() async throws(EventLogError) {
        let (isFirst, held) = state.withLock { state in
            defer { state.lastTick = .now }
            return (state.lastTick == nil, state.holdings.mapValues(\.fence))
        }
        let group = membership.group
        let sessions = try await log.reader.run { database throws(EventLogError) in
            try database.run("SELECT session FROM members WHERE consumers = ?", [.text(group)]) { $0.text(0) }
        }
        let folder = "\(log.folder)/members"
        let plan = BalancePlan(
            group: group,
            member: membership.member,
            session: session.name,
            isFirst: isFirst,
            dead: sessions.filter { $0 != session.name && Session.isDead($0, folder: folder) },
            now: log.time.now(),
            partitions: partitions.mapValues(\.id),
            held: held
        )
        await log.faults.reach(.claimBefore)
        let result = try await log.writer.run { database throws(EventLogError) in
            try plan.apply(to: database)
        }
        if !result.taken.isEmpty { await log.faults.reach(.claimAfter) }
        apply(result)
        if log.trimGate.isDue(at: log.time.now()) { try await log.trimNow() }
    }

    private func apply(_ result: BalancePlan.Result) {
        lose(result.lost)
        let hasChanged = state.withLock { state in
            let back = result.wantedBack.compactMap { partition -> Assignment? in
                guard let holding = state.holdings[partition], !holding.isRevoked else { return nil }
                state.holdings[partition]?.isRevoked = true
                return holding.assignment
            }
            if !back.isEmpty { state.events.append(.revoked(back)) }
            let taken = result.taken.map { lease in
                let assignment = Assignment(
                    partition: lease.partition,
                    progress: lease.progress,
                    freshFrom: lease.freshFrom,
                    faults: log.faults
                )
                state.holdings[lease.partition] = Holding(
                    assignment: assignment,
                    fence: lease.fence,
                    position: lease.progress.low
                )
                return assignment
            }
            if !taken.isEmpty { state.events.append(.assigned(taken)) }
            return !back.isEmpty || !taken.isEmpty
        }
        if hasChanged { log.bell.ring() }
    }
}

/// One look at the group, as the database's thread carries it out.
struct BalancePlan: Sendable {
    struct Taken: Sendable {
        let partition: TopicPartition
        let fence: Int64
        let progress: Progress
        let freshFrom: Int64
    }

    struct Result: Sendable {
        var taken: [Taken] = []
        var wantedBack: [TopicPartition] = []
        var lost: Set<TopicPartition> = []
    }

    let group: String
    let member: String
    let session: String
    let isFirst: Bool
    let dead: [String]
    let now: Timestamp
    let partitions: [TopicPartition: Int64]
    let held: [TopicPartition: Int64]

    func apply(to database: Database) throws(EventLogError) -> Result {
        try register(in: database)
        let members = try database.run(
            "SELECT member, session FROM members WHERE consumers = ? ORDER BY member",
            [.text(group)]
        ) { ($0.text(0), $0.text(1)) }
        let alive = Set(members.map(\.1))
        let place = members.firstIndex { $0.0 == member } ?? 0
        var result = Result()
        for (index, partition) in partitions.keys.sorted().enumerated() {
            guard let topic = partitions[partition] else { continue }
            let lease = try lease(topic, partition, in: database)
            let isHeld = held[partition] != nil
            let isMine = isHeld && lease?.session == session && lease?.fence == held[partition]
            if isHeld, !isMine { result.lost.insert(partition) }
            if index % members.count == place {
                let isTaken = lease.map { $0.session != session && alive.contains($0.session) } ?? false
                if !isMine, !isTaken {
                    result.taken.append(try take(topic, partition, after: lease, in: database))
                }
            } else if isMine {
                result.wantedBack.append(partition)
            }
        }
        return result
    }

    private func register(in database: Database) throws(EventLogError) {
        let found = try database.run(
            "SELECT session FROM members WHERE consumers = ? AND member = ?",
            [.text(group), .text(member)]
        ) { $0.text(0) }.first
        if let found, found != session, !isFirst {
            throw EventLogError(.fenced, "group \(group): another process joined as member \(member)")
        }
        try database.run(
            """
            INSERT INTO members VALUES (?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET session = excluded.session, seen_ms = excluded.seen_ms
            """,
            [.text(group), .text(member), .text(session), .integer(now.milliseconds)]
        )
        for session in dead {
            try database.run(
                "DELETE FROM members WHERE consumers = ? AND session = ?",
                [.text(group), .text(session)]
            )
        }
        try database.run(
            "DELETE FROM members WHERE consumers = ? AND seen_ms < ?",
            [.text(group), .integer(now.milliseconds - EmbeddedConsumer.leaseMilliseconds)]
        )
    }

    private func lease(
        _ topic: Int64,
        _ partition: TopicPartition,
        in database: Database
    ) throws(EventLogError) -> (session: String, fence: Int64)? {
        try database.run(
            "SELECT session, fence FROM leases WHERE consumers = ? AND topic = ? AND partition = ?",
            [.text(group), .integer(topic), .integer(Int64(partition.partition))]
        ) { ($0.text(0), $0.integer(1)) }.first
    }

    private func take(
        _ topic: Int64,
        _ partition: TopicPartition,
        after lease: (session: String, fence: Int64)?,
        in database: Database
    ) throws(EventLogError) -> Taken {
        let fence = (lease?.fence ?? 0) + 1
        let place: [Database.Value] = [.integer(topic), .integer(Int64(partition.partition))]
        try database.run(
            """
            INSERT INTO leases (consumers, topic, partition, session, fence) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET session = excluded.session, fence = excluded.fence
            """,
            [.text(group)] + place + [.text(session), .integer(fence)]
        )
        var progress =
            try EmbeddedLog.progress(of: group, topic: topic, in: database)[partition.partition]
            ?? Progress(low: 0)
        let bounds = try database.run(
            """
            SELECT next, (SELECT min(position) FROM records r
                          WHERE r.topic = p.topic AND r.partition = p.partition)
            FROM partitions p WHERE topic = ? AND partition = ?
            """,
            place
        ) { LogBounds(first: $0.isNull(1) ? $0.integer(0) : $0.integer(1), next: $0.integer(0)) }[0]
        // What retention has taken away was never handled and cannot be any more.
        progress.skip(to: max(progress.low, bounds.first))
        return Taken(partition: partition, fence: fence, progress: progress, freshFrom: bounds.next)
    }
}

extension EmbeddedLog {
    /// Deletes some of the records that are past their topic's retention; a little at a time, so that no
    /// append waits long.
    package func trimNow() async throws(EventLogError) {
        let now = time.now()
        try await writer.run { database throws(EventLogError) in
            let topics = try database.run("SELECT id, retention_ms FROM topics WHERE retention_ms > 0") {
                ($0.integer(0), $0.integer(1))
            }
            for (topic, retention) in topics {
                try database.run(
                    """
                    DELETE FROM records WHERE (topic, partition, position) IN (
                        SELECT topic, partition, position FROM records
                        WHERE topic = ? AND time < ? ORDER BY partition, position LIMIT 500)
                    """,
                    [.integer(topic), .integer(now.milliseconds - retention)]
                )
            }
        }
    }
}
