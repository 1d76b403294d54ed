import JSON
import Topics

/// Keeps workers off a store that has lost what the log knows: they would begin every conversation anew.
package enum StoreGuard {
    package enum Finding: Sendable, Hashable {
        case usable
        /// A rebuild was begun and not ended.
        case halfRebuilt
        /// The log has turns, the store has no conversation.
        case lost(turns: Int64)
    }

    private static let markKey = "store.json"
    private static let rebuildKey = "rebuild/begun"

    /// Marks a store that may be used, so that the next look is one request.
    package static func examine(
        _ store: any ObjectStore,
        log: any EventLog,
        topicPrefix: String
    ) async throws -> Finding {
        if try await store.get(markKey) != nil { return .usable }
        if try await store.get(rebuildKey) != nil { return .halfRebuilt }
        let bounds = try await log.bounds(of: topicPrefix + TurnsTopic.topic.name)
        let turns = bounds.reduce(0) { $0 + $1.next - $1.first }
        let isEmpty = try await store.list(prefix: "c/", after: nil, limit: 1).entries.isEmpty
        if turns > 0, isEmpty { return .lost(turns: turns) }
        try await mark(store)
        return .usable
    }

    static func beginRebuild(_ store: any ObjectStore) async throws(ObjectStoreError) {
        _ = try await store.put(rebuildKey, Array("{}".utf8), if: .always)
        try await store.delete(markKey)
    }

    static func endRebuild(_ store: any ObjectStore) async throws(ObjectStoreError) {
        try await mark(store)
        try await store.delete(rebuildKey)
    }

    private static func mark(_ store: any ObjectStore) async throws(ObjectStoreError) {
        _ = try await store.put(markKey, JSONValue.object(["format": .integer(1)]).json, if: .always)
    }
}
