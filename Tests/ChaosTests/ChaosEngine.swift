import EmbeddedLog
import Foundation
import KafkaLog
import Pipeline

/// The log that a world has.
enum ChaosEngine: Sendable, Hashable {
    case embedded
    /// Brokers that others use too: a world keeps to topics and a group of its own.
    case kafka(bootstrap: String, KafkaSettings.Membership)

    /// Brokers named by `PENSTOCK_TEST_KAFKA`.
    static func kafka(_ membership: KafkaSettings.Membership) -> ChaosEngine? {
        sharedBootstrap.map { .kafka(bootstrap: $0, membership) }
    }

    private static let sharedBootstrap: String? = {
        guard let servers = ProcessInfo.processInfo.environment["PENSTOCK_TEST_KAFKA"], !servers.isEmpty
        else {
            print("NOT CHECKED: chaos on Kafka: PENSTOCK_TEST_KAFKA names no broker")
            return nil
        }
        return servers
    }()

    /// Both engines, as far as they are there; `CHAOS_ENGINE=embedded` or `kafka` for one of them.
    static func all(_ membership: KafkaSettings.Membership) -> [ChaosEngine] {
        let wanted = ProcessInfo.processInfo.environment["CHAOS_ENGINE"]
        return [.embedded, kafka(membership)].compactMap(\.self).filter { engine in
            wanted.map { ($0 == "kafka") == engine.isKafka } ?? true
        }
    }

    var isKafka: Bool { bootstrap != nil }

    /// The brokers.
    var bootstrap: String? {
        switch self {
        case .embedded: nil
        case .kafka(let bootstrap, _): bootstrap
        }
    }

    var name: String {
        switch self {
        case .embedded: "embedded"
        case .kafka(_, let membership): "Kafka, \(membership.rawValue) members"
        }
    }

    /// How long it takes until a member that was stopped has lost its partitions, and a little more.
    var leaseSeconds: Double { isKafka ? 9 : 12 }

    /// Lines of a settings file. Members that die are missed soon, and their open transactions end soon.
    func settings(prefix: String) -> String {
        guard case .kafka(let bootstrap, let membership) = self else { return "log: embedded" }
        return """
            log:
              kafka:
                bootstrap: "\(bootstrap)"
                prefix: "\(prefix)"
                membership: \(membership.rawValue)
                properties:
                  session.timeout.ms: "6000"
                  heartbeat.interval.ms: "1000"
                  transaction.timeout.ms: "5000"
                  message.timeout.ms: "4000"
                  socket.timeout.ms: "4000"
            """
    }

    func open(folder: String) throws -> any EventLog {
        switch self {
        case .embedded: return try EmbeddedLog(folder: folder, time: .system, chance: .system)
        case .kafka(let bootstrap, _):
            let instance = "chaos-\(UUID().uuidString.prefix(8))"
            let settings = KafkaSettings(bootstrap: bootstrap, instance: instance, membership: .dynamic)
            return try KafkaLog(settings, chance: .system)
        }
    }
}

/// Where a world works: one of few places, so that not too many processes are at work at a time, and so that
/// the worlds of one place, which follow each other, can share their topics on Kafka.
actor ChaosPlaces {
    /// For worlds that are always busy.
    static let busy = ChaosPlaces("busy", 2)
    /// For scenarios that mostly wait for a lease to run out.
    static let waiting = ChaosPlaces("waiting", 4)
    /// Where two workers of a group die and come back, each the heir of those before.
    static let pairs = ChaosPlaces("pairs", 6)

    private static let run = UUID().uuidString.prefix(6).lowercased()
    private let name: String
    private var free: [Int]
    private var generations: [Int]
    private var queue: [CheckedContinuation<Int, Never>] = []

    init(_ name: String, _ count: Int) {
        self.name = name
        free = Array(0..<count)
        generations = Array(repeating: 0, count: count)
    }

    /// Makes a world, and closes it afterwards.
    ///
    /// `isFresh`: with topics and a group that nobody has used. After a failure, or what the body calls
    /// unclean, the next world of the place has such too.
    func run<Value: Sendable>(
        _ engine: ChaosEngine,
        isFresh: Bool = false,
        isClean: @Sendable (Value) -> Bool = { _ in true },
        _ body: @Sendable (ChaosWorld) async throws -> Value
    ) async throws -> Value {
        let place = await take()
        defer { give(place) }
        if isFresh { generations[place] += 1 }
        do {
            let prefix = "chaos-\(Self.run)-\(name)-\(place)-\(generations[place])."
            let world = try await ChaosWorld(engine, prefix: prefix)
            let result: Result<Value, any Error>
            do {
                result = .success(try await body(world))
            } catch {
                result = .failure(error)
            }
            let isClean =
                switch result {
                case .success(let value): isClean(value)
                case .failure: false
                }
            try await world.close(isClean: isClean)
            let value = try result.get()
            if !isClean { generations[place] += 1 }
            return value
        } catch {
            generations[place] += 1
            throw error
        }
    }

    private func take() async -> Int {
        if !free.isEmpty { return free.removeFirst() }
        return await withCheckedContinuation { queue.append($0) }
    }

    private func give(_ place: Int) {
        if queue.isEmpty { free.append(place) } else { queue.removeFirst().resume(returning: place) }
    }
}
