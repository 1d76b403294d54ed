import Adapters
import Edge
import Pipeline

extension Composition {
    static func store(
        _ settings: Settings,
        time: TimeSource,
        chance: ChanceSource
    ) throws -> any ObjectStore {
        switch settings.store {
        case .folder: return try FolderStore(folder: "\(settings.data)/store")
        case .s3(let s3): return Self.store(s3, time: time, chance: chance)
        }
    }

    private static func store(_ s3: Settings.S3, time: TimeSource, chance: ChanceSource) -> S3Store {
        var settings = S3Store.Settings(
            endpoint: s3.endpoint ?? "https://s3.\(s3.region).amazonaws.com",
            bucket: s3.bucket,
            region: s3.region,
            prefix: s3.prefix
        )
        // A certificate for *.s3.… does not cover a bucket with a dot in its name.
        let byHost = s3.endpoint == nil && !s3.bucket.contains(".")
        settings.isPathStyle = s3.style.map { $0 == .path } ?? !byHost
        let agent = "penstock/\(Penstock.version)"
        let chain = S3CredentialChain(
            S3CredentialChain.Settings(
                region: s3.region,
                environment: SettingsFile.environment,
                readFile: { Files.read($0).map { String(decoding: $0, as: UTF8.self) } }
            ),
            transport: CurlTransport(transfersMax: 2, shards: 1, userAgent: agent),
            time: time
        )
        return S3Store(
            settings,
            transport: CurlTransport(transfersMax: s3.connectionsMax, shards: 1, userAgent: agent),
            time: time,
            chance: chance
        ) { refused in try await chain.credentials(refused: refused) }
    }

    /// Before a process serves: waits for a store that does not answer yet, and refuses one that must not be
    /// used.
    func readyStore(forTurns: Bool, unless isStopping: () -> Bool) async throws {
        try await Patience.wait(time, isStopping) {
            try await probeStore()
            if forTurns { try await guardStore() }
        }
    }

    /// Before anything is written to a store: it must keep what exactly-once stands on.
    func probeStore() async throws {
        do throws(ObjectStoreError) {
            try await store.probe(chance)
        } catch {
            // What is not there yet may be waited for.
            if error.kind == .unreachable { throw error }
            throw Failure("store: \(error.detail); penstock doctor says more")
        }
    }

    /// A store that has lost what the log knows would begin conversations anew.
    private func guardStore() async throws {
        switch try await StoreGuard.examine(store, log: log, topicPrefix: settings.topicPrefix) {
        case .usable: return
        case .halfRebuilt:
            throw Failure("store: a rebuild was begun and not ended; finish it: penstock replay rebuild")
        case .lost(let turns):
            throw Failure(
                "store: it is empty, but the log has up to \(turns) turns; make it again from the log: "
                    + "penstock replay rebuild (or begin afresh with another data: and another bucket)"
            )
        }
    }
}
