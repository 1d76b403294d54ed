import Crypto
import Glibc

/// Takes a folder that a skill may have filled with anything, and gives the tree of it.
///
/// The skill's processes must be gone. Regular files, folders and symbolic links (as such) are taken; what
/// else lies there is left out and named. A file with several names becomes as many files, unless one of them
/// is outside the folder: then it is left out.
package struct WorkspaceCapture: Sendable {
    package struct Result: Sendable, Hashable {
        package var tree: WorkspaceTree
        /// What was left out and why, at most 100 of them.
        package var refused: [Refusal]
    }

    package struct Refusal: Sendable, Hashable {
        /// Printable.
        package let path: String
        package let reason: String
    }

    private static let refusalsMax = 100
    private static let targetBytesMax = 4095

    private static let storesMax = 16
    private static let storeBytesMax = 32 << 20

    private let limits: WorkspaceLimits

    package init(limits: WorkspaceLimits) {
        self.limits = limits
    }

    /// `store` gets the bytes of each file whose hash is not `known`, each once, up to 16 at a time; what it
    /// throws ends the capture. Throws `WorkspaceError` when a limit is passed or something cannot be read.
    package func capture(
        _ folder: String,
        known: Set<String> = [],
        store: @escaping @Sendable (_ sha256: String, _ bytes: [UInt8]) async throws -> Void
    ) async throws -> Result {
        var walk = Walk(limits: limits, known: known)
        let root = try FolderDescriptor.open(folder)
        walk.device = root.status?.st_dev ?? 0
        walk.enter(root, path: [])
        var blobs: [Blob] = []
        var size = 0
        while let step = try walk.next() {
            guard let blob = step else { continue }
            blobs.append(blob)
            size += blob.bytes.count
            guard blobs.count == Self.storesMax || size >= Self.storeBytesMax else { continue }
            try await Self.hand(blobs, to: store)
            (blobs, size) = ([], 0)
        }
        try await Self.hand(blobs, to: store)
        walk.judgeLinked()
        return Result(tree: WorkspaceTree(entries: walk.entries), refused: walk.refused)
    }

    private static func hand(
        _ blobs: [Blob],
        to store: @escaping @Sendable (_ sha256: String, _ bytes: [UInt8]) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup { group in
            for blob in blobs { group.addTask { try await store(blob.hash, blob.bytes) } }
            try await group.waitForAll()
        }
    }

    private struct Blob {
        let hash: String
        let bytes: [UInt8]
    }

    /// A folder being read, and its names still to come, last first.
    private struct Level {
        let folder: FolderDescriptor
        let path: [UInt8]
        var names: [[UInt8]]?
    }

    private struct Walk {
        let limits: WorkspaceLimits
        var known: Set<String>
        var device: dev_t = 0
        var entries: [WorkspaceEntry] = []
        var refused: [Refusal] = []
        private var levels: [Level] = []
        private var bytes = 0
        /// Files with several names, by inode: how many they have in all, and those met here.
        private var linked: [ino_t: (names: Int, paths: [[UInt8]])] = [:]

        init(limits: WorkspaceLimits, known: Set<String>) {
            self.limits = limits
            self.known = known
        }

        mutating func enter(_ folder: FolderDescriptor, path: [UInt8]) {
            levels.append(Level(folder: folder, path: path))
        }

        /// One name further; nil at the end, an empty step when there is no new blob.
        mutating func next() throws(WorkspaceError) -> Blob?? {
            guard var level = levels.popLast() else { return nil }
            if level.names == nil {
                let room = limits.entries - entries.count
                guard let names = try level.folder.names(limit: room, path: level.path) else {
                    throw WorkspaceError(
                        .limit,
                        "more than \(limits.entries) files and folders in the workspace"
                    )
                }
                level.names = names.reversed()
            }
            guard let name = level.names?.popLast() else { return .some(nil) }
            levels.append(level)
            return .some(try take(name, in: level))
        }

        private mutating func take(_ name: [UInt8], in level: Level) throws(WorkspaceError) -> Blob? {
            let path = level.path.isEmpty ? name : level.path + [UInt8(ascii: "/")] + name
            guard entries.count < limits.entries else {
                throw WorkspaceError(.limit, "more than \(limits.entries) files and folders in the workspace")
            }
            guard let found = level.folder.status(name) else { throw FolderDescriptor.failure("file", path) }
            let mode = Int(found.st_mode & 0o777)
            switch found.st_mode & S_IFMT {
            case S_IFDIR where found.st_dev == device:
                try takeFolder(name, path, mode: mode, in: level)
            case S_IFREG where found.st_dev == device:
                return try takeFile(name, path, mode: mode, in: level)
            case S_IFLNK: try takeLink(name, path, in: level)
            case S_IFDIR, S_IFREG: refuse(path, "it is on another file system")
            case S_IFIFO: refuse(path, "it is a pipe")
            case S_IFSOCK: refuse(path, "it is a socket")
            default: refuse(path, "it is a device")
            }
            return nil
        }

        private mutating func refuse(_ path: [UInt8], _ reason: String) {
            if refused.count < WorkspaceCapture.refusalsMax {
                refused.append(Refusal(path: printable(path), reason: reason))
            }
        }

        /// Whatever the skill took from itself, we give back: its owner is who reads it.
        private func makeReadable(_ name: [UInt8], _ mode: Int, needed: Int, in level: Level) {
            guard mode & needed != needed else { return }
            // Only the entry itself: a link would have been seen, and nobody else is left to swap it.
            _ = fchmodat(level.folder.number, name.cString, mode_t(mode | needed), 0)
        }

        private mutating func takeFolder(
            _ name: [UInt8],
            _ path: [UInt8],
            mode: Int,
            in level: Level
        ) throws(WorkspaceError) {
            guard levels.count < limits.depth else {
                throw WorkspaceError(.limit, "folder \(printable(path)): more than \(limits.depth) deep")
            }
            makeReadable(name, mode, needed: 0o700, in: level)
            entries.append(WorkspaceEntry(path: path, node: .directory(mode: mode | 0o700)))
            enter(try level.folder.folder(name, path: path), path: path)
        }

        private mutating func takeLink(_ name: [UInt8], _ path: [UInt8], in level: Level)
            throws(WorkspaceError)
        {
            var target = [CChar](repeating: 0, count: WorkspaceCapture.targetBytesMax + 1)
            let count = readlinkat(level.folder.number, name.cString, &target, target.count)
            guard count >= 0 else { throw FolderDescriptor.failure("link", path) }
            guard count > 0, count <= WorkspaceCapture.targetBytesMax else {
                return refuse(path, "its target is too long")
            }
            entries.append(
                WorkspaceEntry(
                    path: path,
                    node: .symlink(target: target[..<count].map(UInt8.init(bitPattern:)))
                )
            )
        }

        private mutating func takeFile(
            _ name: [UInt8],
            _ path: [UInt8],
            mode: Int,
            in level: Level
        ) throws(WorkspaceError) -> Blob? {
            makeReadable(name, mode, needed: 0o600, in: level)
            // Non-blocking, in case it was swapped for a pipe since we looked; what is open is looked at
            // again.
            let file = openat(
                level.folder.number,
                name.cString,
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
            )
            guard file >= 0 else { throw FolderDescriptor.failure("file", path) }
            defer { close(file) }
            var found = stat()
            guard fstat(file, &found) == 0, found.st_mode & S_IFMT == S_IFREG, found.st_dev == device else {
                refuse(path, "it changed while it was read")
                return nil
            }
            if found.st_nlink > 1 {
                linked[found.st_ino, default: (Int(found.st_nlink), [])].paths.append(path)
            }
            guard found.st_size <= limits.fileBytes else {
                throw WorkspaceError(
                    .limit,
                    "file \(printable(path)): \(found.st_size) bytes, over \(limits.fileBytes)"
                )
            }
            let content = try read(file, size: Int(found.st_size), path)
            bytes += content.count
            guard bytes <= limits.bytes else {
                throw WorkspaceError(.limit, "the workspace holds more than \(limits.bytes) bytes")
            }
            let hash = SHA256.hex(content)
            let node = WorkspaceEntry.Node.file(mode: mode | 0o600, size: content.count, sha256: hash)
            entries.append(WorkspaceEntry(path: path, node: node))
            return known.insert(hash).inserted ? Blob(hash: hash, bytes: content) : nil
        }

        /// Takes out again what has a name that was not met: it is somebody else's too.
        mutating func judgeLinked() {
            let foreign = linked.values.filter { $0.paths.count != $0.names }
            guard !foreign.isEmpty else { return }
            let paths = Set(foreign.flatMap(\.paths))
            entries.removeAll { paths.contains($0.path) }
            for file in foreign {
                for path in file.paths {
                    refuse(path, "it has \(file.names) names (hard links), of which some are elsewhere")
                }
            }
            refused.sort { $0.path < $1.path }
        }

        private func read(_ file: Int32, size: Int, _ path: [UInt8]) throws(WorkspaceError) -> [UInt8] {
            // One byte more than it should have: a file that grew shows.
            var content = [UInt8](repeating: 0, count: size + 1)
            var filled = 0
            while filled < content.count {
                let count = content.withUnsafeMutableBytes {
                    let rest = UnsafeMutableRawBufferPointer(rebasing: $0[filled...])
                    return Glibc.read(file, rest.baseAddress, rest.count)
                }
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw FolderDescriptor.failure("file", path) }
                if count == 0 { break }
                filled += count
            }
            guard filled == size else {
                throw WorkspaceError(.inaccessible, "file \(printable(path)): it changed while it was read")
            }
            content.removeLast()
            return content
        }
    }
}
