import Adapters
import Crypto
import Pipeline
import Synchronization

/// A store in this process's memory: what turns cost without one.
final class BenchMemoryStore: ObjectStore {
    // Several, because one lock would be the thing measured; each by conversation, so that a listing looks at
    // one only.
    private let parts: [Part] = (0..<64).map { _ in Part() }

    private final class Part: Sendable {
        let groups = Mutex<[String: [String: [UInt8]]]>([:])
    }

    /// Keys are `c/<8 hex digits>/…`, `b/<2>/…` and few others.
    private func place(_ key: String) -> (part: Part, group: String) {
        let group = String(key.prefix(10))
        return (parts[Int(group.utf8.reduce(UInt32(5_381)) { $0 &* 33 &+ UInt32($1) } % 64)], group)
    }

    func get(_ key: String) async throws(ObjectStoreError) -> StoredObject? {
        let (part, group) = place(key)
        return part.groups.withLock { $0[group]?[key] }.map { StoredObject(body: $0, etag: "\($0.count)") }
    }

    func put(_ key: String, _ body: [UInt8], if condition: PutCondition) async throws(ObjectStoreError)
        -> PutResult
    {
        let (part, group) = place(key)
        return part.groups.withLock { groups in
            if condition == .absent, groups[group]?[key] != nil { return .conditionFailed }
            groups[group, default: [:]][key] = body
            return .stored(etag: "\(body.count)")
        }
    }

    func list(prefix: String, after: String?, limit: Int) async throws(ObjectStoreError) -> ObjectListing {
        let (part, group) = place(prefix)
        let found = part.groups.withLock { groups in
            (groups[group] ?? [:]).filter { key, _ in
                key.hasPrefix(prefix) && (after.map { key > $0 } ?? true)
            }
        }.sorted { $0.key < $1.key }.map { ObjectListing.Entry(key: $0.key, byteCount: $0.value.count) }
        return ObjectListing(entries: Array(found.prefix(limit)), isTruncated: found.count > limit)
    }

    func delete(_ key: String) async throws(ObjectStoreError) {
        let (part, group) = place(key)
        part.groups.withLock { _ = $0[group]?.removeValue(forKey: key) }
    }
}

/// The offline model, after a wait as for a real one.
struct WaitingModel: ModelProvider {
    let base = OfflineModel()
    let wait: Duration
    let time: TimeSource

    var name: String { base.name }
    var determinism: ModelDeterminism { base.determinism }

    func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        if wait > .zero {
            do {
                try await time.sleep(wait)
            } catch {
                throw ModelError(.cancelled, "stopped while waiting")
            }
        }
        return try await base.respond(to: request, part: part)
    }
}

/// For turns that run no skill.
struct NoSandbox: SkillSandbox {
    func run(
        _ run: SandboxRun,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome {
        throw SandboxError(.invalid, "a benchmark of turns runs no skill")
    }
}
