import JSON
import Topics

/// Begins a conversation from a turn of another: one slot that names what the other left, nothing copied, the
/// other not touched.
package struct ConversationFork: Sendable {
    package enum Refusal: Error, Hashable {
        case noSuchTurn
        /// The new conversation has turns already.
        case exists
    }

    private let log: any EventLog
    private let sources: SourceNaming
    private let store: TurnStore
    private let worker: WorkerIdentity
    private let time: TimeSource
    private let chance: ChanceSource

    package init(
        log: any EventLog,
        sources: SourceNaming,
        store: any ObjectStore,
        worker: WorkerIdentity,
        time: TimeSource,
        chance: ChanceSource
    ) {
        self.log = log
        self.sources = sources
        self.store = TurnStore(store)
        self.worker = worker
        self.time = time
        self.chance = chance
    }

    /// Returns the new conversation's first slot; turns are numbered on from the other's. Doing it again
    /// after a failure finishes it.
    package func fork(_ source: String, turn: Int64, to target: String) async throws -> Slot {
        guard let origin = try await store.slot(turn, of: ConversationKeys(source)) else {
            throw Refusal.noSuchTurn
        }
        let keys = ConversationKeys(target)
        var slot = slot(from: origin, to: target)
        let newest = try await store.newestTurn(keys)
        let isSealed = newest == nil ? try await store.seal(slot, in: keys) : false
        if !isSealed {
            // Ours from before, or ours whose answer was lost; anything else is somebody's conversation.
            guard newest == nil || newest == turn, let there = try await store.slot(turn, of: keys),
                there.forkedFrom == slot.forkedFrom, there.outcome == .forked
            else { throw Refusal.exists }
            slot = there
        }
        _ = try await log.append(
            slot.outbox.map { outbox in
                var record = sources.record(outbox)
                record.headers += [
                    LogHeader("x-turn", "\(turn)"), LogHeader("x-state", slot.stateHash),
                ]
                return record
            }
        )
        return slot
    }

    private func slot(from origin: Slot, to target: String) -> Slot {
        var slot = Slot()
        slot.outcome = .forked
        slot.state = origin.state
        slot.state.conversation = target
        // Its events are others: what was seen there says nothing here.
        slot.state.recent = RecentKeys()
        slot.stateHash = slot.state.hash
        var reference = TurnReference()
        reference.conversation = origin.state.conversation
        reference.turn = origin.state.turn
        reference.stateHash = origin.stateHash
        slot.forkedFrom = reference
        slot.putID = chance.identifier()
        slot.worker = worker.name
        slot.version = worker.version
        slot.startedAt = time.now()
        slot.sealedAt = slot.startedAt
        var change = StateChange()
        change.workspace = slot.state.workspace
        change.state = slot.state
        var record = TurnRecord()
        record.conversation = target
        record.turn = slot.state.turn
        record.outcome = .forked
        record.stateHash = slot.stateHash
        record.startedAt = slot.startedAt
        record.sealedAt = slot.sealedAt
        record.worker = slot.worker
        record.version = slot.version
        record.putID = slot.putID
        record.change = JSONRaw(change)
        record.forkedFrom = reference
        slot.outbox = [OutboxRecord(topic: TurnsTopic.topic.name, key: target, value: record)]
        return slot
    }
}
