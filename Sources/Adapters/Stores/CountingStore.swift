package import Pipeline
import Synchronization

/// Counts what passes through to another store, for benchmarks and for tests of what a turn costs.
package final class CountingStore: ObjectStore {
    package struct Counts: Sendable, Hashable {
        package var puts = 0
        package var gets = 0
        package var lists = 0
        package var deletes = 0
        package var bytesPut = 0
        package var bytesGot = 0

        package init() {}

        package var requests: Int { puts + gets + lists + deletes }
        /// Put and got together.
        package var bytes: Int { bytesPut + bytesGot }

        package static func += (left: inout Self, right: Self) {
            left.puts += right.puts
            left.gets += right.gets
            left.lists += right.lists
            left.deletes += right.deletes
            left.bytesPut += right.bytesPut
            left.bytesGot += right.bytesGot
        }
    }

    private let base: any ObjectStore
    private let counts = Mutex(Counts())

    package init(_ base: any ObjectStore) {
        self.base = base
    }

    /// What was counted since the last time.
    package func take() -> Counts {
        counts.withLock { counts in
            defer { counts = Counts() }
            return counts
        }
    }

    package func get(_ key: String) async throws(ObjectStoreError) -> StoredObject? {
        let object = try await base.get(key)
        counts.withLock { counts in
            counts.gets += 1
            counts.bytesGot += object?.body.count ?? 0
        }
        return object
    }

    package func put(
        _ key: String,
        _ body: [UInt8],
        if condition: PutCondition
    ) async throws(ObjectStoreError) -> PutResult {
        counts.withLock { counts in
            counts.puts += 1
            counts.bytesPut += body.count
        }
        return try await base.put(key, body, if: condition)
    }

    package func list(prefix: String, after: String?, limit: Int) async throws(ObjectStoreError)
        -> ObjectListing
    {
        counts.withLock { $0.lists += 1 }
        return try await base.list(prefix: prefix, after: after, limit: limit)
    }

    package func delete(_ key: String) async throws(ObjectStoreError) {
        counts.withLock { $0.deletes += 1 }
        try await base.delete(key)
    }
}
