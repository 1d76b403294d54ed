import Crypto
package import JSON
package import Topics

/// What a conversation is after a turn: a pure fold of its events and of what the model and the skills gave
/// back.
package struct ConversationState: JSONObjectCoded, Hashable {
    package var conversation = ""
    package var turn: Int64 = 0
    /// Entries ever made, those in sealed segments included.
    package var entryCount: Int64 = 0
    /// The newest sealed segment; older ones hang from it.
    package var segment: String?
    /// The newest entries, oldest first.
    package var entries: [TranscriptEntry] = []
    package var memory: [String: String] = [:]
    package var recent = RecentKeys()
    /// SHA-256 of the workspace's tree, hex; nil while there are no files.
    package var workspace: String?

    package init() {}

    package init(conversation: String) {
        self.conversation = conversation
    }

    package static let fields = JSONFields<ConversationState>(
        title: "ConversationState",
        doc: "What a conversation is after a turn.",
        [
            .required("conversation", \.conversation, "The conversation's key."),
            .required("turn", \.turn, "Its newest turn."),
            .required("entry_count", \.entryCount, "Transcript entries ever made."),
            .optional("segment", \.segment, "Key of the newest sealed transcript segment."),
            .required("entries", \.entries, "The newest transcript entries, oldest first."),
            .required("memory", \.memory, "What it was told to remember."),
            .required("recent", \.recent, "Hashes of the dedupe keys last seen."),
            .optional("workspace", \.workspace, "SHA-256 of the workspace's tree."),
        ]
    )

    /// SHA-256 of the canonical JSON, hex.
    package var hash: String { SHA256.hex(json) }
}

package enum EntryRole: String, JSONOpenEnum {
    case user
    case assistant
    /// What a tool gave back.
    case tool
    /// Said in the conversation, but not to the agent.
    case note
    case unknown
}

package struct TranscriptEntry: JSONObjectCoded, Hashable {
    package var turn: Int64 = 0
    package var role = EntryRole.unknown
    package var text = ""
    package var sender: String?
    package var toolCalls: [ModelToolCall] = []
    package var toolCallID: String?
    package var isError: Bool?
    /// The event that said it, for a person's words.
    package var eventID: String?
    package var time = Timestamp(milliseconds: 0)

    package init() {}

    package init(turn: Int64, role: EntryRole, text: String, time: Timestamp) {
        self.turn = turn
        self.role = role
        self.text = text
        self.time = time
    }

    package static let fields = JSONFields<TranscriptEntry>(
        title: "TranscriptEntry",
        doc: "One thing said or done in a conversation.",
        [
            .required("turn", \.turn, "The turn that made it."),
            .required("role", \.role, "Who."),
            .required("text", \.text, "What."),
            .optional("sender", \.sender, "The name of who said it."),
            .defaulted("tool_calls", \.toolCalls, "Tools that the assistant called."),
            .optional("tool_call_id", \.toolCallID, "The call that this is the result of."),
            .optional("is_error", \.isError, "The tool failed."),
            .optional("event_id", \.eventID, "The event that said it."),
            .required("time", \.time, "When the turn's event was received."),
        ]
    )
}

/// Hashes of the dedupe keys last seen, oldest first: enough to recognise a platform's late second delivery.
package struct RecentKeys: JSONCoded, Hashable {
    package static let capacity = 256
    private var hashes: [UInt64] = []

    package init() {}

    package func contains(_ key: String) -> Bool {
        hashes.contains(Self.hash(key))
    }

    package mutating func insert(_ key: String) {
        hashes.append(Self.hash(key))
        if hashes.count > Self.capacity { hashes.removeFirst(hashes.count - Self.capacity) }
    }

    private static func hash(_ key: String) -> UInt64 {
        SHA256.hash(Array(key.utf8)).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    // As JSON one base64 string, 8 bytes a hash: a fifth of what an array of numbers would take in every
    // snapshot.
    package init(from reader: inout JSONReader) throws(JSONError) {
        guard let bytes = Base64.decode(try String(from: &reader)), bytes.count % 8 == 0 else {
            throw reader.error("not base64 of 8-byte hashes")
        }
        hashes = stride(from: 0, to: bytes.count, by: 8).map { start in
            bytes[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    package func write(to writer: inout JSONWriter) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(hashes.count * 8)
        for hash in hashes {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: hash >> UInt64(shift)))
            }
        }
        Base64.encode(bytes).write(to: &writer)
    }

    package static var schema: JSONSchema { .string() }
}
