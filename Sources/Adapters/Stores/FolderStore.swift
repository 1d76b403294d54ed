import Crypto
import Dispatch
import Glibc
package import Pipeline

/// Objects as files of one folder, for one machine: every put is atomic and synced to the disk, and
/// conditions hold between processes too.
///
/// Key `a/b` is the file `objects/a/b,`: the comma, which no key has, keeps `a` and `a/b` apart.
package final class FolderStore: ObjectStore {
    private let objects: String
    private let scratch: String
    // Blocking calls stay off Swift's threads; one key is always on the same queue.
    private let queues: [DispatchQueue]

    /// `folder`: created when it is not there.
    package init(folder: String) throws(ObjectStoreError) {
        objects = "\(folder)/objects"
        scratch = "\(folder)/scratch"
        queues = (0..<8).map { DispatchQueue(label: "penstock.store.\($0)") }
        for path in [folder, objects, scratch] where mkdir(path, 0o700) != 0 && errno != EEXIST {
            throw Self.failure("mkdir", path)
        }
        FolderFiles.removeLeftovers(in: scratch)
    }

    package func get(_ key: String) async throws(ObjectStoreError) -> StoredObject? {
        let path = try path(key)
        return try await run(key) { () throws(ObjectStoreError) in
            try FolderFiles.read(path).map { StoredObject(body: $0, etag: Self.etag($0)) }
        }
    }

    package func put(
        _ key: String,
        _ body: [UInt8],
        if condition: PutCondition
    ) async throws(ObjectStoreError) -> PutResult {
        let path = try path(key)
        let scratch = scratch
        return try await run(key) { () throws(ObjectStoreError) in
            let isStored =
                switch condition {
                case .always: try FolderFiles.replace(path, body, scratch: scratch)
                case .absent: try FolderFiles.create(path, body, scratch: scratch)
                case .unchanged(let etag):
                    try FolderFiles.locked(path) { () throws(ObjectStoreError) in
                        guard let old = try FolderFiles.read(path), Self.etag(old) == etag else {
                            return false
                        }
                        return try FolderFiles.replace(path, body, scratch: scratch)
                    }
                }
            return isStored ? .stored(etag: Self.etag(body)) : .conditionFailed
        }
    }

    package func list(
        prefix: String,
        after: String?,
        limit: Int
    ) async throws(ObjectStoreError) -> ObjectListing {
        let walk = FolderWalk(root: objects, prefix: prefix, after: after, limit: min(max(limit, 1), 1_000))
        return try await run(prefix) { () throws(ObjectStoreError) in try walk.listing() }
    }

    package func delete(_ key: String) async throws(ObjectStoreError) {
        let path = try path(key)
        try await run(key) { () throws(ObjectStoreError) in
            guard unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR else {
                throw Self.failure("unlink", path)
            }
        }
    }

    private func path(_ key: String) throws(ObjectStoreError) -> String {
        guard ObjectKey.isValid(key) else {
            throw ObjectStoreError(.invalid, "not an object key: \(key.prefix(80))")
        }
        return "\(objects)/\(key),"
    }

    private static func etag(_ body: [UInt8]) -> String { String(SHA256.hex(body).prefix(32)) }

    private func run<Result: Sendable>(
        _ key: String,
        _ body: @escaping @Sendable () throws(ObjectStoreError) -> Result
    ) async throws(ObjectStoreError) -> Result {
        let queue = queues[key.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF } % queues.count]
        let outcome = await withCheckedContinuation { continuation in
            queue.async {
                do throws(ObjectStoreError) {
                    continuation.resume(returning: Swift.Result<Result, ObjectStoreError>.success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try outcome.get()
    }

    static func failure(_ call: String, _ path: String) -> ObjectStoreError {
        let code = errno
        let detail = "\(call) \(path): \(String(cString: strerror(code)))"
        switch code {
        case ENOSPC, EDQUOT:
            return ObjectStoreError(.noSpace, "\(detail); free some space, then it goes on by itself")
        case EACCES, EPERM, EROFS: return ObjectStoreError(.denied, "\(detail); the folder must be writable")
        case ENAMETOOLONG: return ObjectStoreError(.invalid, detail)
        default: return ObjectStoreError(.unreachable, detail)
        }
    }
}
