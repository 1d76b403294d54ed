import JSON
import Topics

/// Puts turns into the store as the log tells them, next to whatever is there.
package struct TurnRestorer: Sendable {
    package enum Outcome: Sendable, Hashable {
        case created
        case alreadyThere
        /// What was there was not what had been put.
        case repaired
        /// A readable slot of this turn is there that is another; it was left alone.
        case differs
    }

    let store: TurnStore

    package init(_ store: any ObjectStore) {
        self.store = TurnStore(store)
    }

    /// What the turn changed; throws when it was too large to travel and is no longer in the store.
    func change(of record: TurnRecord) async throws -> StateChange {
        if let change = record.change { return try StateChange(json: change.bytes) }
        guard let reference = record.changeRef, let hash = reference.split(separator: "/").last else {
            throw RebuildError(
                detail: "\(record.conversation) turn \(record.turn): its record does not say what it changed"
            )
        }
        let bytes: [UInt8]
        do throws(TurnFailure) {
            bytes = try await store.blob(String(hash))
        } catch {
            guard error.kind == .unreadable else { throw error }
            throw RebuildError(
                detail: "\(record.conversation) turn \(record.turn): what it changed was too large for its "
                    + "record (\(StateChange.inlineBytesMax) bytes), and the store has lost it"
            )
        }
        return try StateChange(json: bytes)
    }

    /// Puts one turn with its segment and the files that travelled; the slot last, so that nothing is named
    /// before it is there.
    func put(
        _ turn: LoggedTurn,
        after previous: Slot?
    ) async throws -> (slot: Slot, outcome: Outcome, filesLeft: Int) {
        let change = try await change(of: turn.record)
        let (slot, segment) = try Slot.rebuilt(turn, change: change, after: previous)
        let keys = ConversationKeys(turn.conversation)
        if let (key, segment) = segment {
            try await store.restore(StoredForm.document(segment.json), at: key) {
                () async throws(TurnFailure) in
                _ = try await store.segment(key)
            }
        }
        for file in change.files {
            guard let bytes = file.bytes else { continue }
            let key = ConversationKeys.blob(file.sha256)
            try await store.restore(StoredForm.stored(blob: bytes), at: key) { () async throws(TurnFailure) in
                _ = try await store.blob(file.sha256)
            }
        }
        let key = keys.slot(turn.turn)
        let isNew = try await store.restore(StoredForm.document(slot.json), at: key) {
            () async throws(TurnFailure) in _ = try await store.slot(turn.turn, of: keys)
        }
        switch isNew {
        case .created: return (slot, .created, change.filesLeft)
        case .repaired: return (slot, .repaired, change.filesLeft)
        case .alreadyThere:
            let there = try await store.slot(turn.turn, of: keys)
            let isSame = there?.stateHash == slot.stateHash && there?.putID == slot.putID
            return (there ?? slot, isSame ? .alreadyThere : .differs, change.filesLeft)
        }
    }
}

extension TurnStore {
    enum Restored: Sendable {
        case created, alreadyThere, repaired
    }

    /// Puts the body where nothing is, or where `read` finds something that is not what was put.
    @discardableResult
    func restore(
        _ body: [UInt8],
        at key: String,
        read: () async throws(TurnFailure) -> Void
    ) async throws(TurnFailure) -> Restored {
        if try await createRestored(key, body) { return .created }
        do throws(TurnFailure) {
            try await read()
            return .alreadyThere
        } catch {
            guard error.kind == .unreadable else { throw error }
            try await replace(key, body)
            return .repaired
        }
    }
}
