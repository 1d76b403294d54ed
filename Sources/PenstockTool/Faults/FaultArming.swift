import Glibc
import Pipeline
import Synchronization

/// Arms the fault points from the environment, in builds that have any.
///
/// - `PENSTOCK_FAULT=<point>[:<nth>][:kill|stop|hold|pause-<ms>]`, several with commas between: what happens
///   when the process is at the point for the nth time (1 unless said; `*` for every time). `kill` (unless
///   said) and `stop` send the process SIGKILL and SIGSTOP; `pause-<ms>` waits so long, and `hold` until a
///   file is there, in that task only.
/// - `PENSTOCK_FAULT_FOLDER=<folder>`: a file `<pid>.<point>` appears there before each of these happens;
///   `hold` waits for `<pid>.<point>.go`.
/// - `PENSTOCK_BREAK=<variant>`: a rule of the protocol that is broken.
/// - `PENSTOCK_STORE_FAULTS`: see `FaultyStore`.
enum FaultArming {
    #if FAULT_POINTS
        static func points() throws(UsageError) -> FaultPoints {
            let plan = try FaultPlan(
                SettingsFile.environment("PENSTOCK_FAULT") ?? "",
                folder: SettingsFile.environment("PENSTOCK_FAULT_FOLDER")
            )
            let broken = try breakage(SettingsFile.environment("PENSTOCK_BREAK"))
            guard !plan.isEmpty || broken != nil else { return .none }
            return FaultPoints(
                broken: Set([broken].compactMap(\.self)),
                reached: { await plan.reach($0) },
                struck: { plan.strike($0) }
            )
        }

        static func store(_ store: any ObjectStore) throws(UsageError) -> any ObjectStore {
            guard let text = SettingsFile.environment("PENSTOCK_STORE_FAULTS"), !text.isEmpty else {
                return store
            }
            return FaultyStore(store, faults: try StoreFaults(text))
        }

        static let variants: [String: Breakage] = [
            "no-bitmap": .noBitmap, "no-epoch": .noEpoch, "own-outbox": .ownOutbox, "no-fence": .noFence,
            "no-put-id": .noPutID,
        ]

        private static func breakage(_ name: String?) throws(UsageError) -> Breakage? {
            guard let name, !name.isEmpty else { return nil }
            guard let variant = variants[name] else {
                throw UsageError(
                    "PENSTOCK_BREAK=\(name): there are \(variants.keys.sorted().joined(separator: ", "))"
                )
            }
            return variant
        }
    #else
        static func points() throws(UsageError) -> FaultPoints { .none }
        static func store(_ store: any ObjectStore) throws(UsageError) -> any ObjectStore { store }
    #endif
}

#if FAULT_POINTS
    /// What is to happen where.
    final class FaultPlan: Sendable {
        enum Action: Hashable, Sendable {
            case kill, stop, hold
            case pause(milliseconds: Int)
        }

        struct Fault: Hashable, Sendable {
            let point: String
            /// Nil for every time.
            let nth: Int?
            let action: Action
        }

        let faults: [Fault]
        private let folder: String?
        private let counts = Mutex<[String: Int]>([:])

        init(_ text: String, folder: String?) throws(UsageError) {
            self.folder = folder
            var faults: [Fault] = []
            for part in text.split(separator: ",") { faults.append(try Self.fault(String(part))) }
            self.faults = faults
        }

        var isEmpty: Bool { faults.isEmpty }

        private static func fault(_ text: String) throws(UsageError) -> Fault {
            var words = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            let point = words.removeFirst()
            guard FaultPoint.all.contains(where: { $0.name == point }) else {
                let names = FaultPoint.all.map(\.name).joined(separator: ", ")
                throw UsageError("PENSTOCK_FAULT=\(text): there is no point \(point); there are \(names)")
            }
            var nth: Int? = 1
            if let word = words.first, word == "*" || Int(word) != nil {
                nth = Int(words.removeFirst())
            }
            let action = words.isEmpty ? .kill : self.action(words.removeFirst())
            guard let action, words.isEmpty, nth.map({ $0 > 0 }) ?? true else {
                throw UsageError(
                    "PENSTOCK_FAULT=\(text): expected POINT[:NTH][:kill|stop|hold|pause-MILLISECONDS]"
                )
            }
            return Fault(point: point, nth: nth, action: action)
        }

        private static func action(_ word: String) -> Action? {
            switch word {
            case "kill": return .kill
            case "stop": return .stop
            case "hold": return .hold
            default:
                guard word.hasPrefix("pause-"), let milliseconds = Int(word.dropFirst(6)), milliseconds >= 0
                else { return nil }
                return .pause(milliseconds: milliseconds)
            }
        }

        func reach(_ point: FaultPoint) async {
            guard let action = due(at: point) else { return }
            switch action {
            case .kill, .stop: signal(action)
            // Cancelled: the process is on its way out, and goes on at once.
            case .pause(let milliseconds): try? await TimeSource.system.sleep(.milliseconds(milliseconds))
            case .hold:
                while !mayGoOn(from: point), !Task.isCancelled {
                    // As above.
                    try? await TimeSource.system.sleep(.milliseconds(5))
                }
            }
        }

        func strike(_ point: FaultPoint) {
            guard let action = due(at: point) else { return }
            switch action {
            case .kill, .stop: signal(action)
            case .pause(let milliseconds): usleep(UInt32(clamping: milliseconds * 1_000))
            case .hold: while !mayGoOn(from: point) { usleep(5_000) }
            }
        }

        private func due(at point: FaultPoint) -> Action? {
            guard faults.contains(where: { $0.point == point.name }) else { return nil }
            let count = counts.withLock { counts in
                counts[point.name, default: 0] += 1
                return counts[point.name]
            }
            let fault = faults.first { $0.point == point.name && ($0.nth == nil || $0.nth == count) }
            guard let fault else { return nil }
            if let folder { close(open("\(folder)/\(getpid()).\(point.name)", O_CREAT | O_CLOEXEC, 0o600)) }
            return fault.action
        }

        private func signal(_ action: Action) {
            // To this thread: another could take what the process is sent, while this one went on.
            raise(action == .stop ? SIGSTOP : SIGKILL)
            if action == .kill { while true { pause() } }
        }

        private func mayGoOn(from point: FaultPoint) -> Bool {
            guard let folder else { return true }
            return access("\(folder)/\(getpid()).\(point.name).go", F_OK) == 0
        }
    }
#endif
