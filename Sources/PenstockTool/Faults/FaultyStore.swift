#if FAULT_POINTS
    import Pipeline
    import Synchronization

    /// Which calls of the store fail: `seed=5,lost=50,refused=20` fails 50 and 20 of 1,000 calls by chance;
    /// `lose=/t/:2` loses the response of the second put to a key with `/t/` in it. Parts may be left out.
    struct StoreFaults: Hashable, Sendable {
        var seed: UInt64 = 1
        /// Of 1,000 calls, how many take effect and say that they did not.
        var lostPerMille = 0
        /// Of 1,000 calls, how many have no effect.
        var refusedPerMille = 0
        var lostKey: String?
        var lostNth = 1

        init(_ text: String) throws(UsageError) {
            for part in text.split(separator: ",") {
                let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
                let value = pair.count == 2 ? pair[1] : ""
                let number = UInt64(value)
                switch (pair[0], number) {
                case ("seed", let number?): seed = number
                case ("lost", let number?) where number <= 500: lostPerMille = Int(number)
                case ("refused", let number?) where number <= 500: refusedPerMille = Int(number)
                case ("lose", _) where !value.isEmpty:
                    let words = value.split(separator: ":").map(String.init)
                    lostKey = words[0]
                    lostNth = words.count > 1 ? Int(words[1]) ?? 1 : 1
                default:
                    throw UsageError(
                        "PENSTOCK_STORE_FAULTS: \(part): expected seed=N, lost=0…500, refused=0…500 (of "
                            + "1,000 calls), lose=PART-OF-KEY:NTH"
                    )
                }
            }
        }
    }

    /// A store whose calls fail as a network's would: not at all, or with the response lost. Only
    /// conversations' objects and blobs are concerned.
    final class FaultyStore: ObjectStore {
        private enum Fault {
            case refused, lostResponse
        }

        private struct State {
            var chance: UInt64
            var matches = 0
        }

        private let store: any ObjectStore
        private let faults: StoreFaults
        private let state: Mutex<State>

        init(_ store: any ObjectStore, faults: StoreFaults) {
            self.store = store
            self.faults = faults
            state = Mutex(State(chance: faults.seed))
        }

        func get(_ key: String) async throws(ObjectStoreError) -> StoredObject? {
            try check(fault(key, isPut: false))
            return try await store.get(key)
        }

        func put(
            _ key: String,
            _ body: [UInt8],
            if condition: PutCondition
        ) async throws(ObjectStoreError) -> PutResult {
            let fault = fault(key, isPut: true)
            if fault == .refused { try check(fault) }
            let result = try await store.put(key, body, if: condition)
            try check(fault)
            return result
        }

        func list(prefix: String, after: String?, limit: Int) async throws(ObjectStoreError) -> ObjectListing
        {
            try check(fault(prefix, isPut: false))
            return try await store.list(prefix: prefix, after: after, limit: limit)
        }

        func delete(_ key: String) async throws(ObjectStoreError) {
            try await store.delete(key)
        }

        private func check(_ fault: Fault?) throws(ObjectStoreError) {
            guard fault == nil else { throw ObjectStoreError(.unreachable, "a fault of the test") }
        }

        private func fault(_ key: String, isPut: Bool) -> Fault? {
            guard key.hasPrefix("c/") || key.hasPrefix("b/") else { return nil }
            return state.withLock { state in
                if isPut, let part = faults.lostKey, key.contains(part) {
                    state.matches += 1
                    if state.matches == faults.lostNth { return .lostResponse }
                }
                switch Int(Self.next(&state.chance) % 1_000) {
                case ..<faults.lostPerMille: return .lostResponse
                case ..<(faults.lostPerMille + faults.refusedPerMille): return .refused
                default: return nil
                }
            }
        }

        /// SplitMix64.
        private static func next(_ state: inout UInt64) -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }
#endif
