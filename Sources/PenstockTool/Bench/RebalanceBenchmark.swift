import Glibc
import Pipeline
import Synchronization

/// `penstock bench rebalance`: how long events wait when a worker joins, leaves, or is killed.
enum RebalanceBenchmark {
    static let command = Command(
        name: "rebalance",
        summary: "the longest that an event waits when a worker joins, leaves, is killed",
        discussion: """
            Two workers, processes of their own, answer events at a steady rate. A third joins, leaves in
            order, and then one of the two is killed (SIGKILL) and stays away. The value is the longest wait
            of an event around the kill, the floor the same in calm. On Kafka the members are dynamic ones.
            """,
        options: PipelineBenchmarks.common + [
            .value("rate", "NUMBER", "events a second, 100 by default"),
            .value("run", "ID", "with --member: the benchmark's; it starts its workers so"),
            .value("member", "NAME", "be a worker of that run, until SIGTERM"),
        ],
        run: { invocation in
            if let member = invocation.value("member") { return try await work(as: member, invocation) }
            return try await measure(invocation)
        }
    )

    /// When what happens, in seconds from the first event.
    private enum Plan {
        static let calm = 12
        static let join = 24
        static let leave = 36
        static let kill = 48
        static let end = 74
        /// Sent so long before and answered after: it waited too.
        static let before: Duration = .seconds(1)
    }

    private static func work(as member: String, _ invocation: Invocation) async throws -> Int32 {
        guard let run = invocation.value("run") else { throw UsageError("--member needs --run") }
        let load = try PipelineBenchmarks.load(invocation, turns: 100, keys: 1_000, inFlight: 256)
        let (world, _) = try await PipelineBenchmarks.world(invocation, joining: run)
        let stop = StopSignal()
        let runner = world.runner(try world.stage(load), group: "rebalance", member: member, load)
        async let stopped: Void = {
            await stop.wait()
            runner.stop()
        }()
        await runner.run()
        stop.raise()
        await stopped
        await world.leave()
        return 0
    }

    private static func measure(_ invocation: Invocation) async throws -> Int32 {
        guard invocation.value("store") ?? "folder" != "memory" else {
            throw UsageError(
                "--store memory: the workers are processes, and need a store that they share"
            )
        }
        let rate = try invocation.integer("rate", in: 1...10_000, default: 100)
        let load = try PipelineBenchmarks.load(
            invocation,
            turns: rate * Plan.end,
            keys: 1_000,
            inFlight: 256
        )
        let (world, store) = try await PipelineBenchmarks.world(invocation, store: "folder")
        let clock = LatencyClock(wanted: load.turns)
        let staff = Staff(invocation, run: world.run, store: store)
        let start = ContinuousClock.now
        do {
            try staff.start("a")
            try staff.start("b")
            try await world.time(load, rate: rate, by: clock) {
                try await staff.follow(from: start, world.time)
            }
        } catch {
            staff.end()
            await world.close()
            throw error
        }
        staff.end()
        await world.close()
        report(clock, from: start, load, invocation)
        return 0
    }

    private static func report(
        _ clock: LatencyClock,
        from start: ContinuousClock.Instant,
        _ load: BenchWorld.Load,
        _ invocation: Invocation
    ) {
        func longest(_ from: Int, _ to: Int, before: Duration = Plan.before) -> Double {
            clock.longest(sentIn: start + .seconds(from) - before..<start + .seconds(to) - Plan.before)
        }
        PipelineBenchmarks.report(
            PipelineBenchmarks.Finding(
                name: "rebalance",
                value: longest(Plan.kill, Plan.end + 1),
                floor: longest(Plan.calm, Plan.join, before: .zero),
                unit: "ms",
                runs: load.turns
            ),
            more: [
                ("join", longest(Plan.join, Plan.leave)),
                ("leave", longest(Plan.leave, Plan.kill)),
            ],
            invocation
        )
    }

    /// The workers: this program, started again.
    private final class Staff: Sendable {
        private let words: [String]
        private let workers = Mutex<[String: pid_t]>([:])

        init(_ invocation: Invocation, run: String, store: String) {
            var words = invocation.path + ["--run=\(run)", "--store=\(store)"]
            for (name, value) in invocation.options where ["bootstrap", "config", "in-flight"].contains(name)
            {
                words.append("--\(name)=\(value)")
            }
            self.words = words
        }

        /// What happens beside the events.
        func follow(from start: ContinuousClock.Instant, _ time: TimeSource) async throws {
            try await time.sleep(start + .seconds(Plan.join) - .now)
            try self.start("c")
            try await time.sleep(start + .seconds(Plan.leave) - .now)
            end("c", by: SIGTERM)
            try await time.sleep(start + .seconds(Plan.kill) - .now)
            end("b", by: SIGKILL)
        }

        func start(_ member: String) throws {
            let arguments: [UnsafeMutablePointer<CChar>?] =
                (words + ["--member=\(member)"]).map { strdup($0) } + [nil]
            defer { arguments.forEach { free($0) } }
            var worker = pid_t(0)
            let error = posix_spawn(&worker, "/proc/self/exe", nil, nil, arguments, environ)
            guard error == 0 else {
                throw Failure("worker \(member) could not be started: \(String(cString: strerror(error)))")
            }
            workers.withLock { $0[member] = worker }
        }

        private func end(_ member: String, by signal: Int32) {
            if let worker = workers.withLock({ $0[member] }) { kill(worker, signal) }
        }

        func end() {
            let all = workers.withLock { Array($0.values) }
            for worker in all { kill(worker, SIGTERM) }
            for worker in all { waitpid(worker, nil, 0) }
        }
    }
}
