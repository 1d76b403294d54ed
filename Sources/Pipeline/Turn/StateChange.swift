import Compression
package import JSON
import Topics

/// What a turn changed in its conversation's state, as it travels in the turn's record: the log alone can
/// then rebuild the state from the one before.
package struct StateChange: JSONObjectCoded, Hashable {
    /// Larger changes are blobs that the record names.
    package static let inlineBytesMax = 1 << 20
    /// The whole state travels with every so many turns, so that a log which has lost its first records still
    /// rebuilds the rest.
    package static let wholeEvery: Int64 = 64

    package var added: [TranscriptEntry] = []
    package var remembered: [String: String] = [:]
    package var forgotten: [String] = []
    /// How many of the oldest entries went into a segment, after `added` came to them.
    package var sealed = 0
    package var recent: [String] = []
    package var workspace: String?
    package var files: [CarriedBlob] = []
    /// Files that are new in the workspace and too large to travel.
    package var filesLeft = 0
    package var state: ConversationState?

    package init() {}

    /// `after`: before any entry of it was sealed.
    package init(from before: ConversationState, to after: ConversationState, seen: [String]) {
        added = Array(after.entries.dropFirst(before.entries.count))
        for (key, value) in after.memory where before.memory[key] != value { remembered[key] = value }
        forgotten = before.memory.keys.filter { after.memory[$0] == nil }.sorted()
        recent = seen
        workspace = after.workspace
    }

    package static let fields = JSONFields<StateChange>(
        title: "StateChange",
        doc: "What a turn changed in its conversation's state.",
        [
            .defaulted("added", \.added, "New transcript entries."),
            .defaulted("remembered", \.remembered, "New memory."),
            .defaulted("forgotten", \.forgotten, "Memory that is gone."),
            .defaulted("sealed", \.sealed, "Oldest entries that went into a segment."),
            .defaulted("recent", \.recent, "Dedupe keys newly seen."),
            .optional("workspace", \.workspace, "SHA-256 of the workspace's tree after the turn."),
            .defaulted("files", \.files, "New blobs of the workspace, its tree among them."),
            .defaulted(
                "files_left",
                \.filesLeft,
                "New blobs of the workspace that were too large to travel."
            ),
            .optional("state", \.state, "The whole state after the turn."),
        ]
    )

    /// The state after, and the segment that was sealed on the way with its key.
    package func applied(
        to before: ConversationState,
        in keys: ConversationKeys
    ) -> (state: ConversationState, segment: (key: String, TranscriptSegment)?) {
        var after = before
        after.turn += 1
        after.entries += added
        after.entryCount += Int64(added.count)
        for key in recent { after.recent.insert(key) }
        for (key, value) in remembered { after.memory[key] = value }
        for key in forgotten { after.memory[key] = nil }
        after.workspace = workspace
        guard sealed > 0, sealed <= after.entries.count else { return (after, nil) }
        let segment = after.sealOldest(sealed, in: keys)
        return (after, segment)
    }
}

/// A blob that travels with a record.
package struct CarriedBlob: JSONObjectCoded, Hashable {
    /// Files beyond this, and all beyond so many bytes in one turn, stay in the store alone.
    package static let bytesMax = 32 * 1_024
    package static let turnBytesMax = 128 * 1_024

    package var sha256 = ""
    /// Base64 of the zstd frame.
    package var zstd = ""

    package init() {}

    package init(sha256: String, bytes: [UInt8]) {
        self.sha256 = sha256
        zstd = Base64.encode(Zstandard.compress(bytes))
    }

    package static let fields = JSONFields<CarriedBlob>(
        title: "CarriedBlob",
        doc: "A blob that travels with a record.",
        [
            .required("sha256", \.sha256, "Hash of its bytes."),
            .required("zstd", \.zstd, "Its bytes, compressed by zstd, in base64."),
        ]
    )

    /// Nil when it is not what its hash says.
    package var bytes: [UInt8]? {
        guard let frame = Base64.decode(zstd) else { return nil }
        return StoredForm.blob(frame, hash: sha256)
    }
}

extension ConversationState {
    /// Takes the oldest entries out into a segment.
    mutating func sealOldest(_ count: Int, in keys: ConversationKeys) -> (key: String, TranscriptSegment) {
        var segment = TranscriptSegment()
        segment.first = entryCount - Int64(entries.count)
        segment.previous = self.segment
        segment.entries = Array(entries.prefix(count))
        let key = segment.key(in: keys)
        self.segment = key
        entries.removeFirst(count)
        return (key, segment)
    }
}
