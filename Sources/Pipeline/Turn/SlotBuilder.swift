package import JSON
package import Topics

/// Puts a turn's slot together: state, replies, turn record, all from what was decided.
package struct SlotBuilder: Sendable {
    private let event: InboundEvent
    private let source: EventSource
    private let worker: WorkerIdentity
    private var slot = Slot()
    private var replies: [Reply] = []
    private var others: [OutboxRecord] = []

    package init(
        event: InboundEvent,
        source: EventSource,
        head: Slot?,
        worker: WorkerIdentity,
        startedAt: Timestamp,
        sealedAt: Timestamp,
        putID: String
    ) {
        self.event = event
        self.source = source
        self.worker = worker
        slot.positions = head?.positions ?? [:]
        slot.positions[source.partitionKey] = source.offset
        slot.previous = head?.stateHash
        slot.events = [source.turnEvent]
        slot.worker = worker.name
        slot.version = worker.version
        slot.startedAt = startedAt
        slot.sealedAt = sealedAt
        slot.putID = putID
    }

    /// Answers the event; without an address to answer to it does nothing.
    package mutating func reply(_ text: String, turn: Int64) {
        guard let address = event.data.reply, !text.isEmpty else { return }
        var reply = Reply()
        reply.replyID = "\(event.partitionkey)/\(turn)/\(replies.count)"
        reply.conversation = event.partitionkey
        reply.platform = event.data.platform
        reply.account = event.data.account.id
        reply.inResponseTo = event.id
        reply.handle = address.handle
        reply.text = text
        reply.createdAt = slot.sealedAt
        reply.hop = (event.hop ?? 0) + 1
        replies.append(reply)
    }

    package mutating func emit(_ letter: DeadLetter) {
        others.append(OutboxRecord(topic: DeadLettersTopic.topic.name, key: letter.recordKey, value: letter))
    }

    /// `change`: a `StateChange`; nil when it is too large for the record; then `changeRef` names it.
    package func slot(
        state: ConversationState,
        outcome: TurnOutcome,
        steps: [TurnStep],
        usage: TurnUsage,
        change: JSONRaw?,
        changeRef: String? = nil
    ) -> Slot {
        var slot = slot
        slot.outcome = outcome
        slot.state = state
        slot.hashState()
        var record = TurnRecord()
        record.conversation = event.partitionkey
        record.turn = state.turn
        record.outcome = outcome
        record.events = slot.events
        record.steps = steps
        record.replies = replies.map(\.replyID)
        record.stateHash = slot.stateHash
        record.previousHash = slot.previous
        record.usage = usage
        record.startedAt = slot.startedAt
        record.sealedAt = slot.sealedAt
        record.worker = worker.name
        record.version = worker.version
        record.putID = slot.putID
        record.log = source.log
        record.change = change
        record.changeRef = changeRef
        let key = event.partitionkey
        slot.outbox =
            replies.map { OutboxRecord(topic: RepliesTopic.topic.name, key: key, value: $0) }
            + [OutboxRecord(topic: TurnsTopic.topic.name, key: key, value: record)] + others
        return slot
    }
}

extension TurnStore {
    /// Seals the oldest entries into a segment when the newest have become too many; returns how many.
    package func sealOldEntries(
        of state: inout ConversationState,
        window: TranscriptWindow,
        in keys: ConversationKeys
    ) async throws(TurnFailure) -> Int {
        let excess = window.excess(of: state.entries)
        guard excess > 0 else { return 0 }
        let (key, segment) = state.sealOldest(excess, in: keys)
        try await putSegment(segment, at: key)
        return excess
    }
}
