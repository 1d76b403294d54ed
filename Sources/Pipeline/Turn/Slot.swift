import Crypto
package import JSON
package import Topics

/// The object that decides what a turn did: created once, under the turn's number, and never changed.
///
/// It is the fence (only one worker can create it), the snapshot (`state`), and the history. `outbox` is what
/// the turn has to say; it becomes visible with the log's transaction, and only there.
package struct Slot: JSONObjectCoded, Hashable {
    /// 1: plain JSON, without `forkedFrom`, and turn records without what changed. 2: compressed.
    package static let format = 2

    package var format = Slot.format
    package var outcome = TurnOutcome.unknown
    package var events: [TurnEvent] = []
    /// The highest offset applied, by source partition (`EventSource.partitionKey`).
    package var positions: [String: Int64] = [:]
    /// Hash of the state before, nil for the first turn.
    package var previous: String?
    /// The turn that this conversation begins from, for the first slot of a fork.
    package var forkedFrom: TurnReference?
    private var keptState = JSONKept(ConversationState())
    package var stateHash = ""
    package var outbox: [OutboxRecord] = []
    /// Random, one for each try to seal: tells a lost response from a rival.
    package var putID = ""
    package var worker = ""
    package var version = ""
    package var startedAt = Timestamp(milliseconds: 0)
    package var sealedAt = Timestamp(milliseconds: 0)

    package init() {}

    package static let fields = JSONFields<Slot>(
        title: "Slot",
        doc: "What a turn did.",
        [
            .required("format", \.format, "Version of this shape."),
            .required("outcome", \.outcome, "What came of the turn."),
            .required("events", \.events, "The events it answered."),
            .required("positions", \.positions, "The highest offset applied, by source partition."),
            .optional("previous", \.previous, "Hash of the state before."),
            .optional("forked_from", \.forkedFrom, "The turn of another conversation that this begins from."),
            .required("state", \.keptState, "The state it left."),
            .required("state_hash", \.stateHash, "SHA-256 of the state, canonical JSON, hex."),
            .required("outbox", \.outbox, "What it has to say."),
            .required("put_id", \.putID, "Random, one for each try to create this object."),
            .required("worker", \.worker, "Who ran it."),
            .required("version", \.version, "The program's version."),
            .required("started_at", \.startedAt, "When it started."),
            .required("sealed_at", \.sealedAt, "When it was decided."),
        ]
    )
}

extension Slot {
    package var state: ConversationState {
        get { keptState.value }
        set { keptState = JSONKept(newValue) }
    }

    /// Sets the state's hash; its JSON is kept for the slot's own, until `forgetJSON`.
    package mutating func hashState() { stateHash = SHA256.hex(keptState.keepJSON()) }

    /// For a slot that stays in memory.
    package mutating func forgetJSON() { keptState = JSONKept(state) }

    /// As this version would have written it.
    var upcast: Slot {
        var slot = self
        // From 1 to 2 every new field may be missing: there were no forks.
        slot.format = Slot.format
        return slot
    }
}

/// A record to be appended, kept in a slot. Its value is canonical JSON.
package struct OutboxRecord: JSONObjectCoded, Hashable {
    package var topic = ""
    package var key = ""
    package var headers: [String: String] = [:]
    package var value = JSONRaw(JSONValue.null)

    package init() {}

    package init(topic: String, key: String, headers: [String: String] = [:], value: some JSONCoded) {
        self.topic = topic
        self.key = key
        self.headers = headers
        self.value = JSONRaw(value)
    }

    package static let fields = JSONFields<OutboxRecord>(
        title: "OutboxRecord",
        doc: "A record to be appended.",
        [
            .required("topic", \.topic, "The topic, without the prefix."),
            .required("key", \.key, "The record's key."),
            .defaulted("headers", \.headers, "The record's headers."),
            .required("value", \.value, "The record's value."),
        ]
    )
}

/// Where the objects of a conversation are.
///
/// The hash comes first so that busy conversations spread over a store's partitions.
package struct ConversationKeys: Sendable, Hashable {
    package let prefix: String

    package init(_ conversation: String) {
        let hash = SHA256.hex(Array(conversation.utf8))
        var name = Self.escaped(conversation)
        if name.utf8.count > 150 { name = "\(name.prefix(120))=\(hash.prefix(24))" }
        prefix = "c/\(hash.prefix(8))/\(name)"
    }

    /// Of a conversation found by listing: `c/<hash>/<name>`.
    package init(prefix: String) {
        self.prefix = prefix
    }

    package var slots: String { "\(prefix)/t/" }

    /// Newer turns sort first, so that one listing of one key finds the newest.
    package func slot(_ turn: Int64) -> String {
        precondition(turn > 0, "turn \(turn)")
        let digits = String(turn).utf8.map { 0x39 - $0 + 0x30 }
        let padding = String(repeating: "9", count: 20 - digits.count)
        return slots + padding + String(decoding: digits, as: UTF8.self)
    }

    /// The turn of a slot's key.
    package func turn(ofSlot key: String) -> Int64? {
        key.hasPrefix(slots) ? Self.turn(ofSlot: key) : nil
    }

    /// The turn of a slot's key, whosever it is.
    package static func turn(ofSlot key: String) -> Int64? {
        guard let start = key.lastIndex(of: "/"), key[..<start].hasSuffix("/t") else { return nil }
        let digits = key[key.index(after: start)...]
        guard digits.utf8.count == 20, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int64(String(decoding: digits.utf8.map { 0x39 - $0 + 0x30 }, as: UTF8.self))
    }

    package func journal(turn: Int64, source: EventSource, step: Int) -> String {
        "\(prefix)/j/\(turn)/\(source.key)/\(step)"
    }

    package func attempt(turn: Int64, source: EventSource, number: Int) -> String {
        "\(prefix)/a/\(turn)/\(source.key)/\(number)"
    }

    package func segment(first: Int64, hash: String) -> String {
        "\(prefix)/s/\(first)-\(hash.prefix(32))"
    }

    package static func blob(_ hash: String) -> String { "b/\(hash.prefix(2))/\(hash)" }

    /// Percent-encodes all but letters, digits, `-`, `_` and `~`, so that the result is one harmless path
    /// segment.
    package static func escaped(_ text: String) -> String {
        let hex = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F, 0x7E: bytes.append(byte)
            default: bytes += [0x25, hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The event that a turn is about, as a place on a log.
package struct EventSource: Sendable, Hashable {
    /// `EventLog.identity`: a log created anew starts its offsets again.
    package let log: String
    package let topic: String
    package let partition: Int32
    package let offset: Int64
    package let eventID: String
    package let dedupekey: String

    package init(
        log: String,
        topic: String,
        partition: Int32,
        offset: Int64,
        eventID: String,
        dedupekey: String
    ) {
        self.log = log
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.eventID = eventID
        self.dedupekey = dedupekey
    }

    package var partitionKey: String { "\(log)/\(topic)/\(partition)" }
    package var key: String { "\(log)-\(partition)-\(offset)" }

    package var turnEvent: TurnEvent {
        var event = TurnEvent()
        event.id = eventID
        event.dedupekey = dedupekey
        event.topic = topic
        event.partition = Int(partition)
        event.offset = offset
        return event
    }
}
