import Crypto
package import Pipeline
import Synchronization

/// An object store in memory that fails when it is told to.
package final class MemoryStore: ObjectStore {
    package enum Fault: Sendable {
        /// Nothing happens, and the caller is told so.
        case refused
        /// It happens, and the caller is told that it did not: a response that was lost.
        case lostResponse
    }

    private struct State {
        var objects: [String: [UInt8]] = [:]
        var faults: [Fault] = []
        var puts = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// The next calls fail, one for each fault, in order.
    package func fail(_ faults: Fault...) {
        state.withLock { $0.faults += faults }
    }

    package var keys: [String] { state.withLock { $0.objects.keys.sorted() } }
    package var putCount: Int { state.withLock { $0.puts } }

    package func get(_ key: String) async throws(ObjectStoreError) -> StoredObject? {
        try check(key)
        return try await run { state in
            state.objects[key].map { StoredObject(body: $0, etag: Self.etag($0)) }
        }
    }

    package func put(
        _ key: String,
        _ body: [UInt8],
        if condition: PutCondition
    ) async throws(ObjectStoreError) -> PutResult {
        try check(key)
        return try await run { state in
            let old = state.objects[key]
            let holds =
                switch condition {
                case .always: true
                case .absent: old == nil
                case .unchanged(let etag): old.map(Self.etag) == etag
                }
            guard holds else { return .conditionFailed }
            state.objects[key] = body
            state.puts += 1
            return .stored(etag: Self.etag(body))
        }
    }

    package func list(prefix: String, after: String?, limit: Int) async throws(ObjectStoreError)
        -> ObjectListing
    {
        try await run { state in
            let keys = state.objects.keys.filter { key in
                key.hasPrefix(prefix) && (after.map { $0.utf8.lexicographicallyPrecedes(key.utf8) } ?? true)
            }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            let entries = keys.prefix(limit).map {
                ObjectListing.Entry(key: $0, byteCount: state.objects[$0]?.count ?? 0)
            }
            return ObjectListing(entries: entries, isTruncated: keys.count > limit)
        }
    }

    package func delete(_ key: String) async throws(ObjectStoreError) {
        try check(key)
        try await run { state in _ = state.objects.removeValue(forKey: key) }
    }

    private func check(_ key: String) throws(ObjectStoreError) {
        guard ObjectKey.isValid(key) else { throw ObjectStoreError(.invalid, "not an object key: \(key)") }
    }

    private func run<Result>(_ body: (inout State) -> Result) async throws(ObjectStoreError) -> Result {
        // Others get their turn, as they would while a real store answers.
        await Task.yield()
        let (result, fault) = state.withLock { state -> (Result?, Fault?) in
            let fault = state.faults.isEmpty ? nil : state.faults.removeFirst()
            if case .refused = fault { return (nil, fault) }
            return (body(&state), fault)
        }
        guard fault == nil, let result else { throw ObjectStoreError(.unreachable, "a fault of the test") }
        return result
    }

    private static func etag(_ body: [UInt8]) -> String { SHA256.hex(body) }
}
