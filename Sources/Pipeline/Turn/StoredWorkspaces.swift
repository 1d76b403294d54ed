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
    // Trees and small files just stored, so that a warm conversation reads nothing of them.
    private let cache = BlobCache(bytesMax: 8 << 20)

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

    private func blob(_ hash: String) async throws(TurnFailure) -> [UInt8] {
        if let bytes = cache.bytes(hash) { return bytes }
        let bytes = try await store.blob(hash)
        cache.insert(bytes, as: hash)
        return bytes
    }

    private func tree(_ hash: String) async throws -> WorkspaceTree {
        try WorkspaceTree(json: try await blob(hash))
    }

    private func restore(_ tree: String, into path: String) async throws {
        let store = store
        let parsed = try await self.tree(tree)
        try await WorkspaceRestore(limits: limits).restore(parsed, into: path) { hash in
            try await store.blob(hash)
        }
    }

    package func capture(_ folder: WorkspaceFolder) async throws(TurnFailure) -> WorkspaceFolder {
        do {
            let (store, cache) = (store, cache)
            var known: Set<String> = []
            if let tree = folder.tree { known = try await self.tree(tree).blobs }
            let result = try await WorkspaceCapture(limits: limits).capture(folder.path, known: known) {
                hash,
                bytes in
                _ = try await store.putBlob(bytes)
                if bytes.count <= CarriedBlob.bytesMax { cache.insert(bytes, as: hash) }
            }
            let refused = result.refused.map { "\($0.path): \($0.reason)" }
            guard !result.tree.entries.isEmpty else {
                return WorkspaceFolder(path: folder.path, tree: nil, refused: refused)
            }
            let body = result.tree.json
            let hash = SHA256.hex(body)
            if hash != folder.tree { _ = try await store.putBlob(body) }
            cache.insert(body, as: hash)
            return WorkspaceFolder(path: folder.path, tree: hash, refused: refused)
        } catch {
            throw Self.failure(error)
        }
    }

    package func carried(
        from before: String?,
        to after: String
    ) async throws(TurnFailure) -> (blobs: [CarriedBlob], left: Int) {
        do {
            let tree = try await tree(after)
            var old: Set<String> = []
            if let before { old = try await self.tree(before).blobs }
            var new: [(hash: String, size: Int)] = [(after, try await blob(after).count)]
            for entry in tree.entries {
                guard case .file(_, let size, let hash) = entry.node, old.insert(hash).inserted else {
                    continue
                }
                new.append((hash, size))
            }
            var blobs: [CarriedBlob] = []
            var room = CarriedBlob.turnBytesMax
            for (hash, size) in new where size <= room && (size <= CarriedBlob.bytesMax || hash == after) {
                room -= size
                blobs.append(CarriedBlob(sha256: hash, bytes: try await blob(hash)))
            }
            return (blobs, new.count - blobs.count)
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
            case .limit, .invalid: return TurnFailure(.permanent, error.detail)
            case .corrupt: return TurnFailure(.unreadable, error.detail)
            case .inaccessible: return TurnFailure(.store, error.detail)
            }
        case let error as JSONError:
            return TurnFailure(.unreadable, "the workspace's tree is not readable: \(error)")
        default: return TurnFailure(.store, "\(error)")
        }
    }
}
