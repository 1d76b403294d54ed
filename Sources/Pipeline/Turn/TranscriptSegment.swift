import Crypto
package import JSON

/// Older entries of a transcript, sealed: written once and named by every later slot through its newest
/// segment.
package struct TranscriptSegment: JSONObjectCoded, Hashable {
    /// Index of the first entry, from 0 for the conversation's first.
    package var first: Int64 = 0
    package var previous: String?
    package var entries: [TranscriptEntry] = []

    package init() {}

    package static let fields = JSONFields<TranscriptSegment>(
        title: "TranscriptSegment",
        doc: "Older entries of a transcript, sealed.",
        [
            .required("first", \.first, "Index of the first entry."),
            .optional("previous", \.previous, "Key of the segment before."),
            .required("entries", \.entries, "The entries, oldest first."),
        ]
    )

    /// Where it lies: by what is in it, so that the same segment twice is one object.
    package func key(in keys: ConversationKeys) -> String {
        keys.segment(first: first, hash: SHA256.hex(json))
    }
}

/// When the newest entries of a transcript are sealed into a segment: rarely enough that a turn writes about
/// the same however long the conversation is, and early enough that a slot stays small.
package struct TranscriptWindow: Sendable, Hashable {
    package var entriesMax: Int
    package var bytesMax: Int

    package init(entriesMax: Int, bytesMax: Int) {
        self.entriesMax = entriesMax
        self.bytesMax = bytesMax
    }

    package static let standard = TranscriptWindow(entriesMax: 48, bytesMax: 64 * 1_024)

    /// How many of the oldest entries to seal now: none while all fit, else enough to come down to two
    /// thirds.
    package func excess(of entries: [TranscriptEntry]) -> Int {
        // In place: a loop over the array would copy each entry.
        let sizes = entries.withUnsafeBufferPointer { entries in
            entries.indices.map { entries[$0].roughByteCount }
        }
        var bytes = sizes.reduce(0, +)
        guard entries.count > entriesMax || bytes > bytesMax else { return 0 }
        var sealed = 0
        while sealed < entries.count - 1,
            entries.count - sealed > entriesMax * 2 / 3 || bytes > bytesMax * 2 / 3
        {
            bytes -= sizes[sealed]
            sealed += 1
        }
        return sealed
    }
}

extension TranscriptEntry {
    var roughByteCount: Int {
        let said = text.utf8.count + 120
        return toolCalls.isEmpty ? said : toolCalls.reduce(said) { $0 + $1.arguments.roughByteCount + 60 }
    }
}

extension JSONValue {
    /// About that of its JSON, without writing it.
    fileprivate var roughByteCount: Int {
        switch self {
        case .null, .bool: 4
        case .integer, .number: 8
        case .string(let text): text.utf8.count + 2
        case .array(let elements): elements.reduce(2) { $0 + $1.roughByteCount + 1 }
        case .object(let members): members.reduce(2) { $0 + $1.key.utf8.count + $1.value.roughByteCount + 4 }
        }
    }
}
