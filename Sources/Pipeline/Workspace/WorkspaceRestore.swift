import Crypto
import Glibc

/// Builds a workspace's folder from its tree and blobs.
///
/// Trees come from a store that others can write to, so they are checked like a stranger's: nothing is made
/// outside the folder, whatever the paths say.
package struct WorkspaceRestore: Sendable {
    private let limits: WorkspaceLimits

    package init(limits: WorkspaceLimits) {
        self.limits = limits
    }

    /// `folder` must exist and be empty. `blob` gives the bytes of a hash; they are checked against it. What
    /// is there after an error is of no use: remove it.
    package func restore(
        _ tree: WorkspaceTree,
        into folder: String,
        blob: @escaping @Sendable (_ sha256: String) async throws -> [UInt8]
    ) async throws {
        try check(tree)
        let root = try FolderDescriptor.open(folder)
        guard try root.names(limit: 0, path: Array(folder.utf8)) != nil else {
            throw WorkspaceError(
                .invalid,
                "workspace \(folder): restore into an empty folder, this one is not"
            )
        }
        var fetched: [String: [UInt8]] = [:]
        for (index, entry) in tree.entries.enumerated() {
            switch entry.node {
            case .directory(let mode): try make(entry.path, in: root) { makeFolder($0, $1, mode: mode) }
            case .symlink(let target): try make(entry.path, in: root) { makeLink($0, $1, target: target) }
            case .file(let mode, let size, let hash):
                if fetched[hash] == nil { fetched = try await Self.fetch(tree.entries[index...], blob) }
                let bytes = fetched[hash] ?? []
                guard bytes.count == size, SHA256.hex(bytes) == hash else {
                    throw WorkspaceError(
                        .corrupt,
                        "blob \(hash) of \(printable(entry.path)): its \(bytes.count) bytes are not "
                            + "those stored"
                    )
                }
                try make(entry.path, in: root) { makeFile($0, $1, mode: mode, bytes: bytes) }
            }
        }
    }

    private static let fetchesMax = 16
    private static let fetchBytesMax = 32 << 20

    /// The blobs of the next files, side by side: at least one, at most 16 and about 32 MiB.
    private static func fetch(
        _ entries: ArraySlice<WorkspaceEntry>,
        _ blob: @escaping @Sendable (_ sha256: String) async throws -> [UInt8]
    ) async throws -> [String: [UInt8]] {
        var hashes: Set<String> = []
        var bytes = 0
        for entry in entries {
            guard case .file(_, let size, let hash) = entry.node else { continue }
            guard hashes.isEmpty || hashes.count < fetchesMax && bytes + size <= fetchBytesMax else { break }
            hashes.insert(hash)
            bytes += size
        }
        return try await withThrowingTaskGroup { group in
            for hash in hashes { group.addTask { (hash, try await blob(hash)) } }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    // MARK: Checks

    private func check(_ tree: WorkspaceTree) throws(WorkspaceError) {
        guard tree.entries.count <= limits.entries else {
            throw WorkspaceError(.limit, "\(tree.entries.count) entries, over \(limits.entries)")
        }
        var folders: Set<ArraySlice<UInt8>> = [[]]
        var previous: [UInt8]?
        var bytes = 0
        for entry in tree.entries {
            if let previous, !previous.lexicographicallyPrecedes(entry.path) {
                throw Self.invalid(entry, "entries must be sorted, each path once")
            }
            previous = entry.path
            try checkPath(entry)
            let parent = entry.path.lastIndex(of: UInt8(ascii: "/")).map { entry.path[..<$0] } ?? []
            guard folders.contains(parent) else { throw Self.invalid(entry, "its folder is not in the tree") }
            switch entry.node {
            case .directory(let mode):
                try Self.checkMode(mode, of: entry)
                folders.insert(entry.path[...])
            case .file(let mode, let size, let hash):
                try Self.checkMode(mode, of: entry)
                guard size >= 0, size <= limits.fileBytes, size <= limits.bytes - bytes else {
                    throw WorkspaceError(.limit, "file \(printable(entry.path)): \(size) bytes are too many")
                }
                bytes += size
                let isHash = hash.utf8.count == 64 && hash.utf8.allSatisfy(Self.hexDigits.contains)
                guard isHash else { throw Self.invalid(entry, "its sha256 is not 64 hexadecimal digits") }
            case .symlink(let target):
                let isPlain = !target.isEmpty && target.count < 4096 && !target.contains(0)
                guard isPlain else {
                    throw Self.invalid(entry, "its target is empty, too long or has a NUL byte")
                }
            }
        }
    }

    private static let hexDigits = Set("0123456789abcdef".utf8)

    private func checkPath(_ entry: WorkspaceEntry) throws(WorkspaceError) {
        let names = entry.path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard names.count <= limits.depth + 1 else {
            throw WorkspaceError(.limit, "\(printable(entry.path)): more than \(limits.depth) deep")
        }
        let arePlain = names.allSatisfy { name in
            !name.isEmpty && name.count <= 255 && !name.contains(0) && !name.elementsEqual(".".utf8)
                && !name.elementsEqual("..".utf8)
        }
        guard arePlain else { throw Self.invalid(entry, "its path is not plain names joined by slashes") }
    }

    private static func checkMode(_ mode: Int, of entry: WorkspaceEntry) throws(WorkspaceError) {
        guard mode >= 0, mode <= 0o777 else {
            throw invalid(entry, "its mode \(mode) is not permission bits")
        }
    }

    private static func invalid(_ entry: WorkspaceEntry, _ why: String) -> WorkspaceError {
        WorkspaceError(.invalid, "workspace entry \(printable(entry.path)): \(why)")
    }

    // MARK: Making

    /// Walks to the entry's folder, link by link refused, and makes the last name there.
    private func make(
        _ path: [UInt8],
        in root: FolderDescriptor,
        _ action: (FolderDescriptor, [UInt8]) -> Bool
    ) throws(WorkspaceError) {
        var names = path.split(separator: UInt8(ascii: "/")).map(Array.init)
        let last = names.removeLast()
        var folder = root
        for name in names { folder = try folder.folder(name, path: path) }
        guard action(folder, last) else { throw FolderDescriptor.failure("making", path) }
    }

    private func makeFolder(_ folder: FolderDescriptor, _ name: [UInt8], mode: Int) -> Bool {
        // Again by fchmodat: the process's umask has had its say in mkdirat.
        mkdirat(folder.number, name.cString, 0o700) == 0
            && fchmodat(folder.number, name.cString, mode_t(mode | 0o700), 0) == 0
    }

    private func makeLink(_ folder: FolderDescriptor, _ name: [UInt8], target: [UInt8]) -> Bool {
        symlinkat(target.cString, folder.number, name.cString) == 0
    }

    private func makeFile(_ folder: FolderDescriptor, _ name: [UInt8], mode: Int, bytes: [UInt8]) -> Bool {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let file = openat(folder.number, name.cString, flags, 0o600)
        guard file >= 0 else { return false }
        defer { close(file) }
        // The file's length first: where nothing but zeros is written, nothing takes room on the disk.
        guard ftruncate(file, bytes.count) == 0 else { return false }
        var written = 0
        while written < bytes.count {
            let piece = bytes[written..<min(written + 65_536, bytes.count)]
            guard piece.contains(where: { $0 != 0 }) else {
                written = piece.endIndex
                continue
            }
            let count = piece.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, written) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            written += count
        }
        return fchmod(file, mode_t(mode | 0o600)) == 0
    }
}
