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

    /// False when somebody created the slot before; a lost response of our own put counts as that too, and
    /// the slot's put id tells.
    package func seal(_ slot: Slot, in keys: ConversationKeys) async throws(TurnFailure) -> Bool {
        try await create(keys.slot(slot.state.turn), slot.json)
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

    package func journalEntry(_ key: String) async throws(TurnFailure) -> JournalEntry? {
        guard
            let object = try await attempt({ () async throws(ObjectStoreError) in try await objects.get(key) }
            )
        else { return nil }
        return try decode(JournalEntry.self, object.body, at: key)
    }

    /// Returns the entry that is in the journal afterwards: this one, or the one that was there before.
    package func journal(_ entry: JournalEntry, at key: String) async throws(TurnFailure) -> JournalEntry {
        if try await create(key, entry.json) { return entry }
        return try await journalEntry(key) ?? entry
    }

    /// Stores the bytes under their SHA-256 and returns that, hex.
    package func putBlob(_ bytes: [UInt8]) async throws(TurnFailure) -> String {
        let hash = SHA256.hex(bytes)
        _ = try await create(ConversationKeys.blob(hash), bytes)
        return hash
    }

    package func blob(_ hash: String) async throws(TurnFailure) -> [UInt8] {
        let key = ConversationKeys.blob(hash)
        guard
            let object = try await attempt({ () async throws(ObjectStoreError) in try await objects.get(key) }
            )
        else {
            throw TurnFailure(.permanent, "\(key): a blob that a slot names is not in the store")
        }
        guard SHA256.hex(object.body) == hash else {
            throw TurnFailure(.permanent, "\(key): the blob's bytes are not those that were put")
        }
        return object.body
    }

    package func putSegment(_ segment: TranscriptSegment, in keys: ConversationKeys) async throws(TurnFailure)
        -> String
    {
        let body = segment.json
        let key = keys.segment(first: segment.first, hash: SHA256.hex(body))
        _ = try await create(key, body)
        return key
    }

    package func segment(_ key: String) async throws(TurnFailure) -> TranscriptSegment {
        guard
            let object = try await attempt({ () async throws(ObjectStoreError) in try await objects.get(key) }
            )
        else {
            throw TurnFailure(
                .permanent,
                "\(key): a transcript segment that a slot names is not in the store"
            )
        }
        return try decode(TranscriptSegment.self, object.body, at: key)
    }

    private func slot(at key: String) async throws(TurnFailure) -> Slot? {
        guard
            let object = try await attempt({ () async throws(ObjectStoreError) in try await objects.get(key) }
            )
        else { return nil }
        let slot = try decode(Slot.self, object.body, at: key)
        guard slot.format <= Slot.format else {
            throw TurnFailure(
                .store,
                "\(key): written by a newer version (format \(slot.format), this one reads up to "
                    + "\(Slot.format)); "
                    + "start that version or a later one"
            )
        }
        return slot
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

    private func decode<Message: JSONCoded>(
        _ type: Message.Type,
        _ body: [UInt8],
        at key: String
    ) throws(TurnFailure) -> Message {
        do throws(JSONError) {
            return try Message(json: body)
        } catch {
            throw TurnFailure(.permanent, "\(key): not readable: \(error.path): \(error.message)")
        }
    }
}
