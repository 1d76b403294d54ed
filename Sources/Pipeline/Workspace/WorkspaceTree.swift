/// What a workspace holds, without the bytes of its files: those are blobs, named by their hash.
///
/// Entries are sorted by the bytes of their paths, so equal workspaces have equal trees; a folder precedes
/// what is in it. The root itself is no entry.
package struct WorkspaceTree: Sendable, Hashable {
    package var entries: [WorkspaceEntry]

    package init(entries: [WorkspaceEntry] = []) {
        self.entries = entries.sorted { $0.path.lexicographicallyPrecedes($1.path) }
    }

    /// The hashes of every file's bytes, each once.
    package var blobs: Set<String> {
        entries.reduce(into: []) { blobs, entry in
            if case .file(_, _, let hash) = entry.node { blobs.insert(hash) }
        }
    }

    /// Bytes in files.
    package var byteCount: Int {
        entries.reduce(0) { sum, entry in
            guard case .file(_, let size, _) = entry.node else { return sum }
            return sum.addingReportingOverflow(size).partialValue
        }
    }

    /// Where the object store keeps a blob.
    package static func key(ofBlob hash: String) -> String { "b/\(hash)" }
}

package struct WorkspaceEntry: Sendable, Hashable {
    package enum Node: Sendable, Hashable {
        case directory(mode: Int)
        /// `sha256` is 64 lower-case hex digits.
        case file(mode: Int, size: Int, sha256: String)
        /// Never followed by the host; the target is whatever the skill wrote.
        case symlink(target: [UInt8])
    }

    /// Names joined by slashes, without one at either end. Linux's names are bytes, not text.
    package var path: [UInt8]
    package var node: Node

    package init(path: [UInt8], node: Node) {
        self.path = path
        self.node = node
    }
}

/// What a workspace may hold at most. A run that leaves more behind has failed.
package struct WorkspaceLimits: Sendable, Hashable {
    /// In all files together.
    package var bytes: Int
    package var fileBytes: Int
    package var entries: Int
    package var depth: Int

    package init(bytes: Int, fileBytes: Int, entries: Int, depth: Int) {
        self.bytes = bytes
        self.fileBytes = fileBytes
        self.entries = entries
        self.depth = depth
    }

    /// 256 MiB, 64 MiB a file, 20,000 entries, 32 folders deep.
    package static let standard = Self(bytes: 256 << 20, fileBytes: 64 << 20, entries: 20_000, depth: 32)
}

package struct WorkspaceError: Error, Hashable {
    package enum Kind: Sendable, Hashable {
        /// More bytes, files or depth than allowed; trying again does not help.
        case limit
        /// The folder cannot be read or written: permissions, a full disk.
        case inaccessible
        /// The tree is not one that a capture makes.
        case invalid
        /// A blob's bytes are not those of its name.
        case corrupt
    }

    package let kind: Kind
    /// What, where, and what to do; for the log.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}

/// Names made by a skill, safe to print: what is not plain ASCII is escaped, and long ones are cut.
func printable(_ path: some Sequence<UInt8>) -> String {
    var text = ""
    for byte in path.prefix(200) {
        if byte > 0x20, byte < 0x7F, byte != UInt8(ascii: "\\") {
            text.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
            let digits = String(byte, radix: 16)
            text += "\\x" + (digits.count < 2 ? "0" : "") + digits
        }
    }
    return text
}
