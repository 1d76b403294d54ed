import Crypto
import Glibc
import JSON
import Synchronization

/// Workspaces as folders below one folder of this machine, their files kept in the object store.
///
/// A conversation's folder stays after its turn while there is room, so that the next turn here reads
/// nothing.
package final class StoredWorkspaces: WorkspaceFolders {
    private struct Kept {
        let folder: WorkspaceFolder
        let order: UInt64
    }

    private let base: String
    private let store: TurnStore
    private let limits: WorkspaceLimits
    private let keptMax: Int
    private let chance: ChanceSource
    private let kept = Mutex<(folders: [String: Kept], order: UInt64)>(([:], 0))

    /// `base`: created when it is not there; what is in it from before is removed.
    /// `keptMax`: folders kept between turns.
    package init(
        base: String,
        store: any ObjectStore,
        limits: WorkspaceLimits,
        keptMax: Int,
        chance: ChanceSource
    ) throws(TurnFailure) {
        self.base = base
        self.store = TurnStore(store)
        self.limits = limits
        self.keptMax = keptMax
        self.chance = chance
        WorkspaceRemoval.remove(base)
        guard mkdir(base, 0o711) == 0 || errno == EEXIST else {
            throw TurnFailure(
                .store,
                "\(base): \(String(cString: strerror(errno))); the data folder must be writable"
            )
        }
    }

    package func open(_ tree: String?, for conversation: String) async throws(TurnFailure) -> WorkspaceFolder
    {
        if let folder = kept.withLock({ $0.folders.removeValue(forKey: conversation) })?.folder {
            if folder.tree == tree { return folder }
            await discard(folder)
        }
        let path = "\(base)/\(chance.identifier())"
        guard mkdir(path, 0o700) == 0 else {
            throw TurnFailure(.store, "\(path): \(String(cString: strerror(errno)))")
        }
        let folder = WorkspaceFolder(path: path, tree: tree)
        guard let tree else { return folder }
        do {
            try await restore(tree, into: path)
        } catch {
            await discard(folder)
            throw Self.failure(error)
        }
        return folder
    }

    private func restore(_ tree: String, into path: String) async throws {
        let store = store
        let parsed = try WorkspaceTree(json: try await store.blob(tree))
        try await WorkspaceRestore(limits: limits).restore(parsed, into: path) { hash in
            try await store.blob(hash)
        }
    }

    package func capture(_ folder: WorkspaceFolder) async throws(TurnFailure) -> WorkspaceFolder {
        do {
            let store = store
            var known: Set<String> = []
            if let tree = folder.tree { known = try WorkspaceTree(json: try await store.blob(tree)).blobs }
            let result = try await WorkspaceCapture(limits: limits).capture(folder.path, known: known) {
                _,
                bytes in
                _ = try await store.putBlob(bytes)
            }
            guard !result.tree.entries.isEmpty else { return WorkspaceFolder(path: folder.path, tree: nil) }
            let body = result.tree.json
            let hash = SHA256.hex(body)
            if hash != folder.tree { _ = try await store.putBlob(body) }
            return WorkspaceFolder(path: folder.path, tree: hash)
        } catch {
            throw Self.failure(error)
        }
    }

    package func keep(_ folder: WorkspaceFolder, for conversation: String) async {
        let gone = kept.withLock { kept -> [WorkspaceFolder] in
            var gone: [WorkspaceFolder] = []
            kept.order += 1
            if let old = kept.folders.updateValue(
                Kept(folder: folder, order: kept.order),
                forKey: conversation
            ) {
                gone.append(old.folder)
            }
            while kept.folders.count > keptMax,
                let oldest = kept.folders.min(by: { $0.value.order < $1.value.order })
            {
                kept.folders[oldest.key] = nil
                gone.append(oldest.value.folder)
            }
            return gone
        }
        for folder in gone { await discard(folder) }
    }

    package func discard(_ folder: WorkspaceFolder) async {
        WorkspaceRemoval.remove(folder.path)
    }

    private static func failure(_ error: any Error) -> TurnFailure {
        switch error {
        case let error as TurnFailure: return error
        case let error as WorkspaceError:
            switch error.kind {
            case .limit, .invalid, .corrupt: return TurnFailure(.permanent, error.detail)
            case .inaccessible: return TurnFailure(.store, error.detail)
            }
        case let error as JSONError:
            return TurnFailure(.permanent, "the workspace's tree is not readable: \(error)")
        default: return TurnFailure(.store, "\(error)")
        }
    }
}

/// Removes a folder that a skill may have filled, whatever it holds, by descriptors: no link is followed.
enum WorkspaceRemoval {
    private static let depthMax = 4_096

    static func remove(_ path: String) {
        empty(AT_FDCWD, path, depth: 0)
        rmdir(path)
    }

    private static func empty(_ parent: CInt, _ name: String, depth: Int) {
        guard depth < depthMax else { return }
        let folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0, let stream = fdopendir(folder) else { return }
        defer { closedir(stream) }
        // A skill may have taken our right to write away; it is our folder all the same.
        fchmod(folder, 0o700)
        while let entry = readdir(stream) {
            var bytes = withUnsafeBytes(of: &entry.pointee.d_name) {
                Array($0.prefix { $0 != 0 }.map { CChar(bitPattern: $0) })
            }
            bytes.append(0)
            guard bytes != [0x2E, 0], bytes != [0x2E, 0x2E, 0] else { continue }
            guard unlinkat(folder, bytes, 0) != 0, errno == EISDIR || errno == EPERM else { continue }
            emptyEntry(folder, bytes, depth: depth + 1)
            unlinkat(folder, bytes, AT_REMOVEDIR)
        }
    }

    /// By its bytes: names that skills make need not be text.
    private static func emptyEntry(_ parent: CInt, _ name: [CChar], depth: Int) {
        name.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress, depth < depthMax else { return }
            let folder = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard folder >= 0 else { return }
            defer { close(folder) }
            empty(folder, ".", depth: depth)
        }
    }
}
