import Telemetry
import Topics

/// One event on its way through the protocol. For one task. Not a value: what a suspended task holds on its
/// stack costs memory for each of the many turns that wait.
final class TurnRun {
    let event: InboundEvent
    let record: LogRecord
    let assignment: Assignment
    let stage: TurnStage
    let source: EventSource
    let keys: ConversationKeys
    let startedAt: Timestamp
    /// One for this run of the turn, however often the store must be asked.
    let attemptMark: String
    var machine: TurnProtocol
    var head: Slot?
    var requests = RequestHasher()
    /// The slot last met on the way: another's, or ours from before.
    var met: Slot?
    var sealing: Slot?
    var workspace: TurnWorkspace?
    var mayBeJournaled = false
    /// Has a place of the stage's `sealGate`: while its slot is made and written, and until its end.
    private var isSealing = false
    var lastFailure = TurnFailure(.transient, "not tried")

    init(event: InboundEvent, record: LogRecord, assignment: Assignment, stage: TurnStage) {
        self.event = event
        self.record = record
        self.assignment = assignment
        self.stage = stage
        source = stage.sources.source(of: record, event)
        keys = ConversationKeys(event.partitionkey)
        startedAt = stage.time.now()
        attemptMark = stage.chance.identifier()
        machine = TurnProtocol(
            offset: record.offset,
            attemptsMax: stage.agent.settings.attemptsMax,
            broken: [.noPutID, .ownOutbox].first(where: stage.faults.breaks)
        )
    }

    /// Nil when the assignment ended and nothing of this may be kept.
    func finish() async throws(TurnFailure) -> [NewRecord]? {
        defer { leaveSealing() }
        var action = machine.first
        while true {
            guard assignment.isAlive, !Task.isCancelled else {
                await release(keeping: false)
                return nil
            }
            if case .finish(let finish) = action {
                let outputs = await conclude(finish)
                await stage.faults.reach(.handBefore)
                return outputs
            }
            do throws(TurnFailure) {
                action = machine.next(after: try await perform(action))
            } catch {
                switch error.kind {
                case .store:
                    leaveSealing()
                    try await park(error)
                case .abandoned:
                    await release(keeping: false)
                    return nil
                default:
                    await release(keeping: false)
                    throw error
                }
            }
        }
    }

    func enterSealing() async throws(TurnFailure) {
        guard !isSealing else { return }
        await stage.sealGate.enter()
        isSealing = true
        guard assignment.isAlive, !Task.isCancelled else {
            throw TurnFailure(.abandoned, "stopped while it waited to be written")
        }
    }

    /// So that one that waits, or begins anew, keeps no other from being written.
    private func leaveSealing() {
        if isSealing { stage.sealGate.leave() }
        isSealing = false
    }

    private func perform(_ action: TurnProtocol.Action) async throws(TurnFailure)
        -> TurnProtocol.Observation
    {
        switch action {
        case .load:
            return try await load()
        case .read(let turn):
            return try await read(turn)
        case .countAttempt(let turn):
            let most = stage.agent.settings.attemptsMax
            await stage.faults.reach(.attemptBefore)
            let count = try await stage.store.countAttempt(
                turn: turn,
                of: keys,
                source: source,
                most: most,
                mark: attemptMark
            )
            await stage.faults.reach(.attemptAfter)
            return .attempts(count)
        case .execute(let turn, let attempt):
            await stage.faults.reach(.executeBefore)
            let observation = try await execute(turn: turn, attempt: attempt)
            await stage.faults.reach(.executeAfter)
            return observation
        case .wait(let failures, let throttled):
            leaveSealing()
            try await backOff(failures: failures, throttled: throttled)
            return .waited
        case .giveUp(let turn, let reason, let attempts):
            return await prepareGivingUp(turn: turn, reason: reason, attempts: attempts)
        case .seal:
            return try await seal()
        case .finish: preconditionFailure("finish is not performed")
        }
    }

    // Each with what it needs on the stack while it runs, and no longer.

    private func load() async throws(TurnFailure) -> TurnProtocol.Observation {
        await stage.faults.reach(.loadBefore)
        let isRedelivered = try await stage.tried.mayHaveTried(record.offset, in: assignment)
        if isRedelivered { mayBeJournaled = true }
        head = try await loadHead()
        await stage.faults.reach(.loadAfter)
        return .loaded(head.map(seen(asHead:)), isRedelivered: isRedelivered)
    }

    private func read(_ turn: Int64) async throws(TurnFailure) -> TurnProtocol.Observation {
        met =
            turn == head?.state.turn
            ? head
            : try await readable { () async throws(TurnFailure) in
                try await stage.store.slot(turn, of: keys)
            }
        return .read(met.map(seen(asMet:)))
    }

    private func prepareGivingUp(
        turn: Int64,
        reason: TurnProtocol.GiveUp,
        attempts: Int
    ) async -> TurnProtocol.Observation {
        sealing = await deadSlot(turn: turn, reason: reason, attempts: attempts)
        return .executed
    }

    private func seal() async throws(TurnFailure) -> TurnProtocol.Observation {
        guard let slot = sealing else { preconditionFailure("nothing to seal") }
        try await enterSealing()
        await stage.faults.reach(.sealBefore)
        let isSealed = try await stage.store.seal(slot, in: keys)
        await stage.faults.reach(.sealAfter)
        if isSealed { return .sealed }
        stage.heads.remove(event.partitionkey)
        leaveSealing()
        return .taken
    }

    private func loadHead() async throws(TurnFailure) -> Slot? {
        if let cached = stage.heads.head(event.partitionkey, under: assignment) {
            requests = cached.requests
            return cached.slot
        }
        return try await readable { () async throws(TurnFailure) in try await stage.store.newest(keys) }
    }

    /// Reads; where what is read is damaged, once more after the log has restored it.
    private func readable(
        _ read: () async throws(TurnFailure) -> Slot?
    ) async throws(TurnFailure) -> Slot? {
        do throws(TurnFailure) {
            return try await read()
        } catch {
            guard error.kind == .unreadable else { throw error }
            stage.metrics.damaged.increment()
            stage.logger.error("Stored turn damaged", metadata: [LogKeys.error: error.detail])
            guard try await stage.restore(event.partitionkey) else { throw error }
            stage.logger.warning("Stored turn restored from the log", metadata: [LogKeys.error: error.detail])
            return try await read()
        }
    }

    private func seen(asHead slot: Slot) -> TurnProtocol.Head {
        TurnProtocol.Head(
            turn: slot.state.turn,
            position: slot.positions[source.partitionKey],
            hasSeenEvent: slot.state.recent.contains(event.dedupekey)
        )
    }

    private func seen(asMet slot: Slot) -> TurnProtocol.Met {
        TurnProtocol.Met(
            isMine: slot.putID == sealing?.putID,
            containsEvent: slot.events.contains {
                $0.id == event.id && $0.partition == Int(source.partition) && $0.offset == source.offset
            },
            position: slot.positions[source.partitionKey]
        )
    }
}
