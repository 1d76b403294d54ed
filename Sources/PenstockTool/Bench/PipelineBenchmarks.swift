import Glibc
import JSON
import Pipeline
import Topics

/// `penstock bench turns`, `latency`, `wait`, `scale` and `rebalance`: the pipeline without platforms, on the
/// log that the settings name and a store to choose.
enum PipelineBenchmarks {
    static let commands = [turns, latency, wait, scale, RebalanceBenchmark.command]

    static let common: [Command.Option] = [
        .value("bootstrap", "HOST:PORT", "Kafka brokers, whatever the settings say"),
        .value("store", "NAME", "memory, folder, or s3 as the settings name it; memory by default"),
        .value("turns", "NUMBER", "how many"),
        .value("keys", "NUMBER", "conversations that share them"),
        .value("in-flight", "NUMBER", "turns at a time, of each worker"),
    ]

    private static let turns = Command(
        name: "turns",
        summary: "turns a second, beside the least that the log or the store allows",
        discussion: """
            Events of 500 bytes, the offline model, no skill; every turn writes its snapshot to the store. The
            floor with --store memory is consume, produce and commit alone (on Kafka: librdkafka's own calls);
            with another store its conditional puts at the same concurrency.
            """,
        options: common,
        run: { try await measureTurns($0) }
    )

    private static let latency = Command(
        name: "latency",
        summary: "from an event's append to its reply, readable; p50 and p99",
        discussion: "The value is the p99, the floor the same of records that are only passed on.",
        options: common + [.value("rate", "NUMBER", "events a second, 100 by default")],
        run: { try await measureLatency($0) }
    )

    private static let wait = Command(
        name: "wait",
        summary: "turns a second when each waits as for a model, beside the same without waiting",
        options: common + [.value("wait-ms", "NUMBER", "each turn's wait, 50 by default")],
        run: { try await measureWait($0) }
    )

    private static let scale = Command(
        name: "scale",
        summary: "how much more eight workers do than one, each with the same turns in flight",
        discussion: """
            The workers are members of one group in this process, and have as many of 16 partitions each when
            the events come. Each turn calls its model twice and waits 50 ms each time.
            """,
        options: common,
        run: { try await measureScale($0) }
    )

    /// `joining`: the world of another process; else one of its own. `store`: unless the invocation names
    /// one.
    static func world(
        _ invocation: Invocation,
        joining run: String? = nil,
        store: String = "memory",
        partitions: Int32? = nil
    ) async throws -> (BenchWorld, String) {
        var settings = try SettingsFile.load(invocation)
        if let bootstrap = invocation.value("bootstrap") {
            settings.log = .kafka(Settings.Kafka(bootstrap: bootstrap))
        }
        let store = invocation.value("store") ?? store
        guard ["memory", "folder", "s3"].contains(store) else {
            throw UsageError("--store \(store): expected memory, folder or s3")
        }
        return (try await BenchWorld(settings, store: store, joining: run, partitions: partitions), store)
    }

    static func load(
        _ invocation: Invocation,
        turns: Int,
        keys: Int,
        inFlight: Int
    ) throws -> BenchWorld.Load {
        BenchWorld.Load(
            turns: try invocation.integer("turns", in: 100...10_000_000, default: turns),
            conversations: try invocation.integer("keys", in: 1...1_000_000, default: keys),
            inFlight: try invocation.integer("in-flight", in: 1...16_384, default: inFlight)
        )
    }

    /// Turns on topics and a store of their own, and the memory that they took.
    private static func turns(
        _ load: BenchWorld.Load,
        _ invocation: Invocation
    ) async throws -> (rate: BenchWorld.Rate, memory: BenchMemory) {
        let (world, _) = try await world(invocation)
        try await world.produce(load)
        let memory = BenchMemory()
        let rate = try await world.turns(load, group: "turns")
        await world.close()
        return (rate, memory)
    }

    private static func measureTurns(_ invocation: Invocation) async throws -> Int32 {
        let load = try load(invocation, turns: 20_000, keys: 1_000, inFlight: 256)
        let (world, store) = try await world(invocation)
        try await world.produce(load)
        let floor =
            store == "memory"
            ? try await world.floor(load, group: "floor") : try await world.puts(load)
        let rate = try await world.turns(load, group: "turns")
        await world.close()
        report(
            Finding(
                name: "turns",
                value: rate.perSecond,
                floor: floor.perSecond,
                unit: "turns/s",
                runs: load.turns
            ),
            more: [
                ("cpu_ms_per_turn", rate.processorMilliseconds),
                ("floor_cpu_ms", floor.processorMilliseconds),
                ("ratio_per_core", rate.perProcessorSecond / floor.perProcessorSecond),
            ],
            invocation
        )
        return 0
    }

    private static func measureLatency(_ invocation: Invocation) async throws -> Int32 {
        let load = try load(invocation, turns: 2_000, keys: 1_000, inFlight: 256)
        let rate = try invocation.integer("rate", in: 1...10_000, default: 100)
        let (world, _) = try await world(invocation)
        let echo = EchoStage(topic: world.full(RepliesTopic.topic))
        let floor = try await world.latency(load, rate: rate, stage: echo, group: "echo")
        await world.close()
        let (other, _) = try await self.world(invocation)
        let found = try await other.latency(load, rate: rate, stage: try other.stage(load), group: "turns")
        await other.close()
        report(
            Finding(
                name: "latency",
                value: found.percentile(0.99),
                floor: floor.percentile(0.99),
                unit: "ms",
                runs: load.turns
            ),
            more: [("p50", found.percentile(0.5)), ("floor_p50", floor.percentile(0.5))],
            invocation
        )
        return 0
    }

    private static func measureWait(_ invocation: Invocation) async throws -> Int32 {
        var load = try load(invocation, turns: 50_000, keys: 5_000, inFlight: 10_000)
        let milliseconds = try invocation.integer("wait-ms", in: 1...60_000, default: 50)
        let floor = try await turns(load, invocation).rate
        load.modelWait = .milliseconds(milliseconds)
        let (rate, memory) = try await turns(load, invocation)
        report(
            Finding(
                name: "wait",
                value: rate.perSecond,
                floor: floor.perSecond,
                unit: "turns/s",
                runs: load.turns
            ),
            more: [("memory_before_mib", memory.before), ("peak_memory_mib", memory.peak)],
            invocation
        )
        return 0
    }

    private static func measureScale(_ invocation: Invocation) async throws -> Int32 {
        var load = try load(invocation, turns: 400, keys: 16_000, inFlight: 4)
        load.modelWait = .milliseconds(50)
        let one = try await shared(load, invocation)
        load.workers = 8
        load.turns *= 8
        let eight = try await shared(load, invocation)
        report(
            Finding(
                name: "scale",
                value: eight.perSecond / one.perSecond,
                floor: 8,
                unit: "times",
                runs: load.turns
            ),
            more: [("one_worker_per_second", one.perSecond), ("eight_workers_per_second", eight.perSecond)],
            invocation
        )
        return 0
    }
}

extension PipelineBenchmarks {
    private static func shared(_ load: BenchWorld.Load, _ invocation: Invocation) async throws
        -> BenchWorld.Rate
    {
        let (world, _) = try await world(invocation, partitions: Int32(BenchWorld.sharedPartitions))
        let rate = try await world.turns(load, group: "turns", feeding: true)
        await world.close()
        return rate
    }

    struct Finding {
        let name: String
        let value: Double
        let floor: Double
        let unit: String
        let runs: Int

        var ratio: Double { floor == 0 ? 0 : value / floor }
    }

    static func report(
        _ finding: Finding,
        more: [(name: String, value: Double)],
        _ invocation: Invocation
    ) {
        guard invocation.isJSON else {
            let rest = more.map { ", \($0.name.replacing("_", with: " ")) \(rounded($0.value))" }.joined()
            return Terminal.line(
                "\(finding.name): \(rounded(finding.value)) \(finding.unit), "
                    + "floor \(rounded(finding.floor)), ratio \(rounded(finding.ratio))\(rest); "
                    + "\(finding.runs) turns"
            )
        }
        var members: [String: JSONValue] = [
            "name": .string(finding.name), "value": .number(finding.value), "floor": .number(finding.floor),
            "ratio": .number(finding.ratio), "unit": .string(finding.unit),
            "runs": .integer(Int64(finding.runs)),
        ]
        for (name, value) in more { members[name] = .number(value) }
        Terminal.json(.object(members))
    }

    private static func rounded(_ value: Double) -> String {
        value >= 100 ? "\(Int(value.rounded()))" : "\((value * 100).rounded() / 100)"
    }
}
