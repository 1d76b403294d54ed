import Crypto
import JSON

/// A conversation's objects: slots, journal, attempt marks, blobs.
package struct TurnStore: Sendable {
    package let objects: any ObjectStore

    package init(_ objects: any ObjectStore) {
        self.objects = objects
    }

    /// One listing of one key, then one get; nil for a conversation that never was.
    package func newest(_ keys: ConversationKeys) async throws(TurnFailure) -> Slot? {
        let listing = try await attempt { () async throws(ObjectStoreError) in
            try await objects.list(prefix: keys.slots, after: nil, limit: 1)
        }
        guard let key = listing.entries.first?.key else { return nil }
        return try await slot(at: key)
    }

    package func slot(_ turn: Int64, of keys: ConversationKeys) async throws(TurnFailure) -> Slot? {
        try await slot(at: keys.slot(turn))
    }

    /// The newest turn that has a slot, readable or not.
    package func newestTurn(_ keys: ConversationKeys) async throws(TurnFailure) -> Int64? {
        let listing = try await attempt { () async throws(ObjectStoreError) in
            try await objects.list(prefix: keys.slots, after: nil, limit: 1)
        }
        return listing.entries.first.flatMap { keys.turn(ofSlot: $0.key) }
    }

    /// False when somebody created the slot before; a lost response of our own put counts as that too, and
    /// the slot's put id tells.
    package func seal(_ slot: Slot, in keys: ConversationKeys) async throws(TurnFailure) -> Bool {
        try await create(keys.slot(slot.state.turn), StoredForm.document(slot.json))
    }

    /// Creates the first attempt mark that is not there yet; returns how many there are then.
    ///
    /// `mark`: unique to this call; a mark of ours whose response was lost is told from another's by it, or
    /// one try would count as two.
    package func countAttempt(
        turn: Int64,
        of keys: ConversationKeys,
        source: EventSource,
        most: Int,
        mark: String
    ) async throws(TurnFailure) -> Int {
        let body = JSONValue.object(["mark": .string(mark)]).json
        for number in 1...max(most, 1) {
            let key = keys.attempt(turn: turn, source: source, number: number)
            if try await create(key, body) { return number }
            let there = try await attempt { () async throws(ObjectStoreError) in try await objects.get(key) }
            if there?.body == body { return number }
        }
        return most + 1
    }

    /// What is under a key of `TriedOffsets`, and the condition for writing it anew; nil when there is
    /// nothing.
    func bound(at key: String) async throws(TurnFailure) -> (below: Int64?, condition: PutCondition)? {
        let found = try await attempt { () async throws(ObjectStoreError) in try await objects.get(key) }
        guard let found else { return nil }
        // What is damaged is written anew.
        let bound = StoredForm.json(found.body).flatMap { try? TriedBound(json: $0) }
        return (bound?.below, .unchanged(etag: found.etag))
    }

    /// The new object's etag; nil when the condition did not hold.
    func put(bound below: Int64, at key: String, if condition: PutCondition) async throws(TurnFailure)
        -> String?
    {
        let body = StoredForm.document(TriedBound(below: below).json)
        switch try await attempt({ () async throws(ObjectStoreError) in
            try await objects.put(key, body, if: condition)
        }) {
        case .stored(let etag): return etag
        case .conditionFailed: return nil
        }
    }

    /// Nil also for an entry that can not be read: its step is run again, as if its worker had died before it
    /// was written.
    package func journalEntry(_ key: String) async throws(TurnFailure) -> JournalEntry? {
        do throws(TurnFailure) {
            return try await document(JournalEntry.self, at: key)
        } catch {
            guard error.kind == .unreadable else { throw error }
            return nil
        }
    }

    /// Returns the entry that is in the journal afterwards: this one, or the one that was there before.
    package func journal(_ entry: JournalEntry, at key: String) async throws(TurnFailure) -> JournalEntry {
        let body = StoredForm.document(entry.json)
        if try await create(key, body) { return entry }
        if let there = try await journalEntry(key) { return there }
        try await replace(key, body)
        return entry
    }

    /// Stores the bytes under their SHA-256 and returns that, hex.
    package func putBlob(_ bytes: [UInt8]) async throws(TurnFailure) -> String {
        let hash = SHA256.hex(bytes)
        _ = try await create(ConversationKeys.blob(hash), StoredForm.stored(blob: bytes))
        return hash
    }

    package func blob(_ hash: String) async throws(TurnFailure) -> [UInt8] {
        let key = ConversationKeys.blob(hash)
        if let found = try await checked(key, { StoredForm.blob($0, hash: hash) }) { return found }
        if let found = try await fromTrash(hash) { return found }
        throw TurnFailure(.unreadable, "\(key): a blob that a slot names is not in the store")
    }

    /// A sweep may have moved it just before it was named again; it is put back.
    private func fromTrash(_ hash: String) async throws(TurnFailure) -> [UInt8]? {
        let listing = try await attempt { () async throws(ObjectStoreError) in
            try await objects.list(prefix: Trash.folder(hash), after: nil, limit: 1)
        }
        guard let key = listing.entries.first?.key,
            let found = try await checked(key, { StoredForm.blob($0, hash: hash) })
        else { return nil }
        _ = try await putBlob(found)
        return found
    }

    /// `key`: as `TranscriptSegment.key` gives it.
    package func putSegment(_ segment: TranscriptSegment, at key: String) async throws(TurnFailure) {
        _ = try await create(key, StoredForm.document(segment.json))
    }

    package func segment(_ key: String) async throws(TurnFailure) -> TranscriptSegment {
        let found = try await document(TranscriptSegment.self, at: key) { segment, json in
            key.hasSuffix("-\(SHA256.hex(json).prefix(32))")
        }
        guard let found else {
            throw TurnFailure(
                .unreadable,
                "\(key): a transcript segment that a slot names is not in the store"
            )
        }
        return found
    }

    private func slot(at key: String) async throws(TurnFailure) -> Slot? {
        // A newer version's state need not have the hash that this version makes of it.
        let found = try await document(Slot.self, at: key) { slot, _ in
            slot.format > Slot.format
                || slot.state.hash == slot.stateHash && ConversationKeys.turn(ofSlot: key) == slot.state.turn
        }
        guard let found else { return nil }
        guard found.format <= Slot.format else {
            throw TurnFailure(
                .store,
                "\(key): written by a newer version (format \(found.format), this one reads up to "
                    + "\(Slot.format)); "
                    + "start that version or a later one"
            )
        }
        return found.upcast
    }

    /// Nil when there is none; `.unreadable` when it is not what was put, also at a second look.
    private func document<Document: JSONCoded>(
        _ type: Document.Type,
        at key: String,
        _ isWhole: (Document, _ json: [UInt8]) -> Bool = { _, _ in true }
    ) async throws(TurnFailure) -> Document? {
        try await checked(key) { body in
            // What exactly is wrong with it does not matter: it is not what was put.
            guard let json = StoredForm.json(body), let document = try? Document(json: json) else {
                return nil
            }
            return isWhole(document, json) ? document : nil
        }
    }

    /// Reads, and once more when the bytes are wrong: they may have been damaged on the way.
    private func checked<Value>(
        _ key: String,
        _ decode: (_ body: [UInt8]) -> Value?
    ) async throws(TurnFailure) -> Value? {
        for _ in 0..<2 {
            let body: [UInt8]?
            do throws(ObjectStoreError) {
                body = try await objects.get(key)?.body
            } catch {
                guard error.kind == .corrupt else { throw TurnFailure(.store, error.detail) }
                continue
            }
            guard let body else { return nil }
            if let value = decode(body) { return value }
        }
        throw TurnFailure(.unreadable, "\(key): its bytes are not those that were put")
    }

    /// False when there is something under the key; for what the log restores.
    func createRestored(_ key: String, _ body: [UInt8]) async throws(TurnFailure) -> Bool {
        try await create(key, body)
    }

    /// Over whatever is there: only for an object that is not what was put.
    func replace(_ key: String, _ body: [UInt8]) async throws(TurnFailure) {
        _ = try await attempt { () async throws(ObjectStoreError) in
            try await objects.put(key, body, if: .always)
        }
    }

    private func create(_ key: String, _ body: [UInt8]) async throws(TurnFailure) -> Bool {
        switch try await attempt({ () async throws(ObjectStoreError) in
            try await objects.put(key, body, if: .absent)
        }) {
        case .stored: true
        case .conditionFailed: false
        }
    }

    private func attempt<Result>(
        _ body: () async throws(ObjectStoreError) -> Result
    ) async throws(TurnFailure) -> Result {
        do throws(ObjectStoreError) {
            return try await body()
        } catch {
            throw TurnFailure(.store, error.detail)
        }
    }
}
