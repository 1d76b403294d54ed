import CRDKafka
import Glibc
import Pipeline
import Synchronization
import Telemetry

/// A member's thread: polls, rebalances, carries out what other tasks ask for.
///
/// librdkafka's callbacks come from within its polls, so they are on this thread too.
final class MemberLoop: Sendable {
    private struct Revocation {
        let places: [TopicPartition]
        var waiting: [Assignment]
        let deadline: ContinuousClock.Instant
    }

    private struct Local {
        /// Given by the group, and not begun yet: what is committed for them must be read first.
        var assigning: [TopicPartition] = []
        var retryAt: ContinuousClock.Instant?
        var assigningSince = ContinuousClock.now
        var revocation: Revocation?
        var wasAssigned = false
        var lastRebalance = ContinuousClock.now
        var areBrokersDown = false
        var isClosing = false
        var watch = GroupWatch()
        /// Paused as far as librdkafka knows, which keeps that beyond an assignment.
        var paused: Set<TopicPartition> = []
        var batches: [(assignment: Assignment, records: [LogRecord])] = []
    }

    private static let messagesMax = 500
    private static let revokeWithin: Duration = .seconds(5)
    /// An open transaction of a former owner is over by then, and no longer an excuse.
    private static let quietFor: Duration = .seconds(25)
    /// Members of a group learn of a newcomer with their next heartbeat.
    private static let calm: Duration = .seconds(1)
    private static let calmWithin: Duration = .seconds(6)
    /// `RD_KAFKA_OFFSET_STORED`: where the group is.
    private static let committedOffset: Int64 = -1_000

    private let consumer: KafkaConsumer
    // Used by the member's thread only.
    nonisolated(unsafe) private var local = Local()

    init(_ consumer: KafkaConsumer) {
        self.consumer = consumer
    }

    private var handle: KafkaHandle { consumer.handle }
    private var isCooperative: Bool {
        rd_kafka_rebalance_protocol(handle.pointer).map { String(cString: $0) } == "COOPERATIVE"
    }

    func run() {
        while true {
            let (commands, isLeaving) = consumer.state.withLock { state in
                defer { state.commands = [] }
                return (state.commands, state.isLeaving)
            }
            for command in commands { perform(command) }
            if isLeaving { break }
            endLateRevocation()
            beginAssigned()
            lookAtGroup()
            if consumer.buffer.isFull {
                usleep(5_000)
            } else {
                drain(milliseconds: local.assigning.isEmpty ? 100 : 20)
            }
            if let stuck = consumer.state.withLock({ $0.stuckCommit(now: .now) }) {
                consumer.buffer.setTrouble(stuck)
            }
            if let fatal = handle.fatal {
                let kind = KafkaError.kind(fatal.code)
                let detail = KafkaError.error(fatal.code, consumer.membership.group, fatal.words).detail
                let error = EventLogError(kind == .fenced ? .fenced : .closed, detail)
                consumer.buffer.setTrouble(consumer.state.withLock { $0.judged(error, now: .now) })
            }
        }
        close()
    }

    /// librdkafka 2.0.2 may hang when it closes a member before its first assignment, or without a
    /// coordinator; and it ends the process when it destroys one between its place in a round and what the
    /// round gives it (`rd_kafka_sticky_assignor_state_destroy: Assertion`). So the first assignment is
    /// waited for, and a member without one stays until the process ends: the group learns by its time-outs.
    private func close() {
        local.isClosing = true
        awaitCalm()
        let mayDestroy = consumer.state.withLock { !$0.isCommitStuck }
        let isOrderly = local.wasAssigned && !local.areBrokersDown && handle.fatal == nil
        if isOrderly { rd_kafka_consumer_close(handle.pointer) }
        consumer.state.withLock { state in
            state.holdings = [:]
            state.fence = nil
        }
        consumer.metrics.partitions.set(0)
        // A commit that does not come back still uses the handle.
        guard mayDestroy else { return }
        if local.wasAssigned { handle.destroy(isClosing: isOrderly) } else { handle.abandon() }
    }

    /// Whoever goes without leaving, or in the midst of a rebalance, holds up the group for
    /// `max.poll.interval.ms`: its request to leave stays behind its request to join. A static member
    /// does not leave in any case.
    private func awaitCalm() {
        if let revocation = local.revocation { endRevocation(revocation) }
        if !local.assigning.isEmpty { assign(local.assigning.map { ($0, Self.committedOffset) }) }
        local.assigning = []
        let deadline = ContinuousClock.now + Self.calmWithin
        while !local.areBrokersDown, handle.fatal == nil, .now < deadline, !isCalm {
            drain(milliseconds: 100)
        }
    }

    private var isCalm: Bool {
        guard local.wasAssigned else { return false }
        return consumer.isStatic || ContinuousClock.now - local.lastRebalance >= Self.calm
    }

    /// While leaving nothing is begun, and nothing is waited for.
    private func answer(_ code: rd_kafka_resp_err_t, _ places: [TopicPartition]) {
        if code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            local.wasAssigned = true
            assign(places.map { ($0, Self.committedOffset) })
        } else {
            unassign(places)
        }
    }

    private func perform(_ command: KafkaConsumer.Command) {
        switch command {
        case .pause(let assignment): setPaused(assignment, true)
        case .resume(let assignment): setPaused(assignment, false)
        case .release(let assignments):
            consumer.state.withLock { state in
                for assignment in assignments
                where state.holdings[assignment.partition]?.assignment === assignment {
                    state.holdings[assignment.partition] = nil
                }
            }
            guard var revocation = local.revocation else { return }
            revocation.waiting.removeAll { waiting in assignments.contains { $0 === waiting } }
            local.revocation = revocation
            if revocation.waiting.isEmpty { endRevocation(revocation) }
        }
    }

    /// Only a change is passed on: librdkafka 2.0.2 may go back when one resumes what is not paused.
    private func setPaused(_ assignment: Assignment, _ isPaused: Bool) {
        let place = assignment.partition
        let isChange = consumer.state.withLock { state in
            guard let holding = state.holdings[place], holding.assignment === assignment,
                holding.isPaused != isPaused
            else { return false }
            state.holdings[place]?.isPaused = isPaused
            return true
        }
        guard isChange else { return }
        setPaused([place], isPaused)
    }

    private func setPaused(_ places: [TopicPartition], _ isPaused: Bool) {
        let changing = places.filter { local.paused.contains($0) != isPaused }
        guard !changing.isEmpty else { return }
        if isPaused { local.paused.formUnion(changing) } else { local.paused.subtract(changing) }
        let list = PartitionList(changing, offset: -1)
        let code =
            isPaused
            ? rd_kafka_pause_partitions(handle.pointer, list.pointer)
            : rd_kafka_resume_partitions(handle.pointer, list.pointer)
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        consumer.logger.warning("Delivery not changed", metadata: [LogKeys.error: KafkaError.text(code)])
    }
}

// Messages.
extension MemberLoop {
    private func drain(milliseconds: Int32) {
        var count = 0
        while let message = rd_kafka_consumer_poll(handle.pointer, count == 0 ? milliseconds : 0) {
            take(UnsafePointer(message))
            rd_kafka_message_destroy(message)
            count += 1
            if count == Self.messagesMax { break }
        }
        let batches = local.batches
        local.batches = []
        for batch in batches where !batch.records.isEmpty {
            consumer.buffer.push(.records(batch.assignment, batch.records))
        }
    }

    private func take(_ message: UnsafePointer<rd_kafka_message_t>) {
        let place = KafkaRecords.place(of: message)
        let offset = message.pointee.offset
        switch message.pointee.err {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
            let assignment = consumer.state.withLock { state -> Assignment? in
                guard let holding = state.holdings[place], !holding.isRevoked, holding.assignment.isAlive,
                    state.holdings[place]?.take(offset) == true
                else { return nil }
                return holding.assignment
            }
            guard let assignment else { return }
            let record = KafkaRecords.record(message, in: place)
            if local.batches.last?.assignment === assignment {
                local.batches[local.batches.count - 1].records.append(record)
            } else {
                local.batches.append((assignment, [record]))
            }
            consumer.buffer.setTrouble(nil)
        case RD_KAFKA_RESP_ERR__PARTITION_EOF:
            consumer.state.withLock { $0.holdings[place]?.pass(to: offset) }
            consumer.buffer.setTrouble(nil)
        default: failed(message.pointee.err, "\(place): \(KafkaRecords.words(of: message))")
        }
    }

    /// An error that librdkafka tells of by itself; it goes on trying.
    func failed(_ code: rd_kafka_resp_err_t, _ words: String) {
        let error = KafkaError.error(code, "group \(consumer.membership.group)", words)
        switch code {
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TIMED_OUT:
            if code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN { local.areBrokersDown = true }
            consumer.state.withLock { $0.missedBrokerAt = .now }
        case RD_KAFKA_RESP_ERR__FATAL: break
        default:
            if error.kind == .denied || error.kind == .invalid || KafkaError.isMissingTopic(code) {
                consumer.buffer.setTrouble(error)
            }
        }
        consumer.logger.warning("Consumer", metadata: [LogKeys.error: error.detail])
    }

    func statistics(_ json: [UInt8]) {
        guard let statistics = KafkaStatistics(json) else { return }
        if statistics.hasBroker { local.areBrokersDown = false }
        let lag = consumer.state.withLock { state in
            state.holdings.reduce(Int64(0)) { sum, entry in
                guard let end = statistics.ends[entry.key] else { return sum }
                let progress = entry.value.assignment.progress
                return sum + max(0, end - progress.low - Int64(progress.doneAbove.count))
            }
        }
        consumer.metrics.lag.set(Int(lag))
    }
}

// Rebalances.
extension MemberLoop {
    func rebalance(_ code: rd_kafka_resp_err_t, _ list: UnsafePointer<rd_kafka_topic_partition_list_t>) {
        let places = PartitionList.elements(list).map(\.place)
        consumer.metrics.rebalances.increment()
        local.lastRebalance = .now
        guard !local.isClosing else { return answer(code, places) }
        switch code {
        case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
            pin()
            local.wasAssigned = true
            local.watch.assigned(now: .now)
            consumer.buffer.setTrouble(nil)
            if places.isEmpty {
                assign([])
            } else {
                local.assigning = places
                local.retryAt = nil
                local.assigningSince = .now
            }
        case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
            let begun = places.filter { !local.assigning.contains($0) }
            local.assigning.removeAll { places.contains($0) }
            if rd_kafka_assignment_lost(handle.pointer) != 0 {
                lose(begun)
                unassign(places)
            } else {
                pin()
                revoke(places)
            }
        default:
            consumer.logger.error("Rebalance failed", metadata: [LogKeys.error: KafkaError.text(code)])
            local.assigning = []
            lose(consumer.state.withLock { Array($0.holdings.keys) })
            rd_kafka_assign(handle.pointer, nil)
        }
    }

    /// An older one stays when there is none now: it fails closed.
    private func pin() {
        guard let fence = GroupMetadata(of: handle) else { return }
        consumer.state.withLock { state in
            state.fence = fence
            state.failingSince = nil
        }
    }

    private func revoke(_ places: [TopicPartition]) {
        let assignments = consumer.state.withLock { state in
            for place in places { state.holdings[place]?.isRevoked = true }
            return places.compactMap { state.holdings[$0]?.assignment }
        }
        let deadline = ContinuousClock.now + Self.revokeWithin
        let revocation = Revocation(places: places, waiting: assignments, deadline: deadline)
        guard !assignments.isEmpty else { return endRevocation(revocation) }
        local.revocation = revocation
        consumer.buffer.push(.revoked(assignments))
    }

    private func endLateRevocation() {
        guard let revocation = local.revocation, ContinuousClock.now >= revocation.deadline else { return }
        consumer.logger.warning(
            "Partitions not released in time",
            metadata: [
                LogKeys.partitions: revocation.waiting.map { "\($0.partition)" }.joined(separator: " ")
            ]
        )
        lose(revocation.waiting.map(\.partition))
        endRevocation(revocation)
    }

    private func endRevocation(_ revocation: Revocation) {
        local.revocation = nil
        unassign(revocation.places)
    }

    private func lose(_ places: [TopicPartition]) {
        let gone = consumer.state.withLock { state in
            let gone = places.compactMap { state.holdings.removeValue(forKey: $0)?.assignment }
            for assignment in gone { assignment.end() }
            return gone
        }
        if let revocation = local.revocation {
            local.revocation?.waiting = revocation.waiting.filter { waiting in
                !gone.contains { $0 === waiting }
            }
        }
        guard !gone.isEmpty else { return }
        consumer.metrics.lost.increment(by: gone.count)
        consumer.buffer.push(.lost(gone))
    }

    private func unassign(_ places: [TopicPartition]) {
        // Eager: all partitions go, whatever is listed.
        guard isCooperative, !places.isEmpty || !local.isClosing else {
            rd_kafka_assign(handle.pointer, nil)
            return countPartitions()
        }
        let list = PartitionList(places, offset: -1)
        report(rd_kafka_incremental_unassign(handle.pointer, list.pointer))
        countPartitions()
    }

    private func assign(_ offsets: [(place: TopicPartition, offset: Int64)]) {
        let list = PartitionList(offsets)
        if isCooperative {
            report(rd_kafka_incremental_assign(handle.pointer, list.pointer))
        } else {
            let code = rd_kafka_assign(handle.pointer, list.pointer)
            if code != RD_KAFKA_RESP_ERR_NO_ERROR { failed(code, "assign") }
        }
        // What an earlier stay has left paused.
        setPaused(offsets.map(\.place), false)
        countPartitions()
    }

    private func report(_ error: OpaquePointer?) {
        guard let error = TransactionError(error, "assignment") else { return }
        consumer.logger.error("Assignment refused", metadata: [LogKeys.error: error.eventLogError.detail])
    }

    private func countPartitions() {
        consumer.metrics.partitions.set(consumer.state.withLock { $0.holdings.count })
    }
}

// What nobody has.
extension MemberLoop {
    private func lookAtGroup() {
        guard consumer.isStatic, !local.areBrokersDown, local.watch.isDue(now: .now) else { return }
        var orphans: Set<TopicPartition>?
        do throws(EventLogError) {
            let owned = try KafkaAdmin.owned(in: consumer.membership.group, by: handle)
            orphans = owned.map(consumer.places.subtracting)
        } catch {
            consumer.logger.warning("Group not looked at", metadata: [LogKeys.error: error.detail])
        }
        guard local.watch.saw(hasOrphans: orphans.map { !$0.isEmpty }, now: .now) else { return }
        let list = (orphans ?? []).sorted().map(\.description).joined(separator: " ")
        consumer.logger.warning(
            "Partitions are nobody's: the group shares anew",
            metadata: [LogKeys.partitions: list]
        )
        // It really leaves, which a static member's close does not; what it has goes the usual way.
        rd_kafka_unsubscribe(handle.pointer)
        do throws(EventLogError) {
            try consumer.subscribe()
        } catch {
            consumer.buffer.setTrouble(EventLogError(.closed, error.detail))
        }
    }
}

// Beginning a stay.
extension MemberLoop {
    private func beginAssigned() {
        let places = local.assigning
        guard !places.isEmpty, local.retryAt.map({ $0 <= .now }) ?? true else { return }
        do throws(EventLogError) {
            let starts = try starts(of: places)
            local.assigning = []
            let assignments = starts.map { start in
                Assignment(
                    partition: start.place,
                    progress: start.progress,
                    freshFrom: start.freshFrom,
                    faults: consumer.faults
                )
            }
            consumer.state.withLock { state in
                for assignment in assignments {
                    state.holdings[assignment.partition] = Holding(assignment)
                }
            }
            assign(starts.map { ($0.place, $0.progress.low) })
            consumer.buffer.setTrouble(nil)
            consumer.buffer.push(.assigned(assignments))
        } catch {
            // A transaction of the former owner may be open: it ends within its time-out.
            local.retryAt = .now + .milliseconds(200)
            consumer.logger.warning("Partitions not begun yet", metadata: [LogKeys.error: error.detail])
            let isLong = ContinuousClock.now - local.assigningSince > Self.quietFor
            if error.kind != .unavailable {
                consumer.buffer.setTrouble(error)
            } else if isLong {
                consumer.buffer.setTrouble(Self.hanging(error))
            }
        }
    }

    private static func hanging(_ error: EventLogError) -> EventLogError {
        let advice =
            "if all brokers are well, a transaction may hang: see `kafka-transactions.sh find-hanging`"
        return EventLogError(error.kind, "\(error.detail) (\(advice))")
    }

    private struct Start {
        let place: TopicPartition
        let progress: Progress
        let freshFrom: Int64
    }

    private func starts(of places: [TopicPartition]) throws(EventLogError) -> [Start] {
        let committed = try Self.committed(places, by: handle, group: consumer.membership.group)
        let bounds = try KafkaAdmin.bounds(of: places, by: handle)
        return places.enumerated().map { index, place in
            let found = committed[place] ?? nil
            let progress = Self.bounded(found, first: bounds[index].first, end: bounds[index].next)
            if let found, found.low > bounds[index].next {
                consumer.logger.error(
                    "Partition is shorter than what was done of it",
                    metadata: [
                        LogKeys.position: "\(place)@\(found.low)", "end": "\(bounds[index].next)",
                        LogKeys.reason: "acknowledged records were lost; going on at the end",
                    ]
                )
            }
            return Start(place: place, progress: progress, freshFrom: bounds[index].next)
        }
    }
}
