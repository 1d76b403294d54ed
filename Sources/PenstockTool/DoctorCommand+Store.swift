import Pipeline

extension DoctorCommand {
    /// Whether the store can be reached and keeps what exactly-once stands on; writes two small objects.
    static func store(_ settings: Settings) async -> Finding {
        let name: String
        switch settings.store {
        case .folder: name = "folder \(settings.data)/store"
        case .s3(let s3): name = "s3 bucket \(s3.bucket) at \(s3.endpoint ?? "AWS \(s3.region)")"
        }
        do {
            let store = try Composition.store(settings, time: .system, chance: .system)
            try await store.probe(.system)
            return Finding(
                id: "store",
                isGood: true,
                seen: "\(name): a second create of one key fails, lists are in order",
                meaning: ""
            )
        } catch {
            let problem = error as? ObjectStoreError
            return Finding(
                id: "store",
                isGood: false,
                seen: "\(name): \(problem?.detail ?? "\(error)")",
                meaning: "no turn can be taken: the store decides what a turn did",
                cure: cure(problem?.kind)
            )
        }
    }

    private static func cure(_ kind: ObjectStoreError.Kind?) -> String {
        switch kind {
        case .denied:
            "give keys that may get, put, list and delete in the bucket, by AWS_ACCESS_KEY_ID and "
                + "AWS_SECRET_ACCESS_KEY, a profile, or a web identity"
        case .unsupported: "set store: s3: endpoint: to a store with conditional writes"
        case .invalid: "check bucket, region and prefix below store: s3:, and create the bucket"
        case .noSpace: "free some space"
        case .unreachable, .corrupt, nil: "check store: s3: endpoint: and the network"
        }
    }
}
