import JSON
package import Topics

/// A turn as the log tells it: its record, and what else it emitted.
package struct LoggedTurn: Sendable {
    package let record: TurnRecord
    /// The record's value, byte for byte.
    let value: [UInt8]
    /// The values of its replies and dead letters, in order, as far as they are still on the log.
    var replies: [[UInt8]] = []
    var letters: [[UInt8]] = []

    /// Nil for what is no turn record.
    init?(_ record: LogRecord) {
        // A record of another shape is another's, or of a version that nobody here knows.
        guard let read = try? TurnRecord(json: record.value), read.turn > 0, !read.conversation.isEmpty else {
            return nil
        }
        self.record = read
        value = record.value
    }

    package var conversation: String { record.conversation }
    package var turn: Int64 { record.turn }

    /// Whether everything that it emitted is there.
    var isWhole: Bool {
        replies.count == record.replies.count && letters.count == (record.outcome == .dead ? 1 : 0)
    }
}

/// Why a turn can not be rebuilt.
package struct RebuildError: Error, Hashable {
    /// For the report; names the turn.
    package let detail: String
}

extension Slot {
    /// The slot that this turn created, from the one before and what the log says of it. Pure.
    ///
    /// Equal to what was stored, byte for byte, when `turn.isWhole`; otherwise its outbox lacks what the log
    /// has lost, which nobody needs any more: a record that is on the log was emitted.
    static func rebuilt(
        _ turn: LoggedTurn,
        change: StateChange,
        after previous: Slot?
    ) throws(RebuildError) -> (slot: Slot, segment: (key: String, TranscriptSegment)?) {
        let record = turn.record
        let keys = ConversationKeys(record.conversation)
        let isNext = (previous?.state.turn ?? 0) == record.turn - 1 && record.forkedFrom == nil
        var slot = Slot()
        var segment: (key: String, TranscriptSegment)?
        if isNext {
            guard previous?.stateHash == record.previousHash else {
                throw RebuildError(
                    detail: "\(record.conversation) turn \(record.turn): the turn before is another"
                )
            }
            let before = previous?.state ?? ConversationState(conversation: record.conversation)
            (slot.state, segment) = change.applied(to: before, in: keys)
            slot.positions = previous?.positions ?? [:]
        } else if let whole = change.state {
            slot.state = whole
        } else {
            throw RebuildError(
                detail: "\(record.conversation) turn \(record.turn): the turn before is not on the log"
            )
        }
        slot.stateHash = slot.state.hash
        guard slot.stateHash == record.stateHash else {
            throw RebuildError(
                detail:
                    "\(record.conversation) turn \(record.turn): the state rebuilt is another than was left"
            )
        }
        slot.outcome = record.outcome
        slot.events = record.events
        for event in record.events {
            slot.positions["\(record.log ?? "")/\(event.topic)/\(event.partition)"] = event.offset
        }
        slot.previous = record.previousHash
        slot.forkedFrom = record.forkedFrom
        slot.putID = record.putID ?? ""
        slot.worker = record.worker
        slot.version = record.version
        slot.startedAt = record.startedAt
        slot.sealedAt = record.sealedAt
        slot.outbox = try outbox(turn)
        return (slot, segment)
    }

    private static func outbox(_ turn: LoggedTurn) throws(RebuildError) -> [OutboxRecord] {
        let values =
            turn.replies.map { (RepliesTopic.topic.name, $0) } + [(TurnsTopic.topic.name, turn.value)]
            + turn.letters.map { (DeadLettersTopic.topic.name, $0) }
        var outbox: [OutboxRecord] = []
        for (topic, bytes) in values {
            do throws(JSONError) {
                let value = try JSONValue(json: bytes)
                outbox.append(OutboxRecord(topic: topic, key: turn.conversation, value: value))
            } catch {
                throw RebuildError(
                    detail: "\(turn.conversation) turn \(turn.turn): a record on \(topic) is not JSON"
                )
            }
        }
        return outbox
    }
}
