#if FAULT_POINTS
    import Foundation
    import Pipeline
    import PipelineTesting
    import Topics

    /// A load of conversations, worked on by several workers to whom things happen at random moments: killed
    /// by SIGKILL, killed at a point of the protocol, stopped and resumed, added and taken away; and their
    /// store fails now and then.
    ///
    /// The seed decides the load, what happens and after which pauses; when exactly a process is hit is up to
    /// the kernel.
    actor ChaosRun {
        struct Plan: Sendable {
            var turns: Int
            var seed: UInt64
            /// Workers at most.
            var workersMax = 4
            /// Events on the log that nobody has done yet, at most.
            var backlogMax = 120
            /// Things that happen before the last event is on the log, at least.
            var actionsMin: Int
        }

        struct Counts: Sendable {
            var kills = 0
            var killsAtPoints = 0
            /// Kills while events were waiting.
            var killsAtWork = 0
            var stops = 0
            /// Stops for longer than a lease.
            var zombies = 0
            var added = 0
            var removed = 0
            /// Ends that nobody asked for: how each ended. By SIGTERM is one that had hardly begun.
            var crashes: [CInt] = []
            /// What was on standard error then.
            var lastWords = ""
        }

        private struct Member {
            let process: ChaosProcess
            let fault: String
            var resumesAt: ContinuousClock.Instant?
        }

        /// `CHAOS_TURNS=…` for a long run (`ops/do chaos`).
        static let turnsWanted = ProcessInfo.processInfo.environment["CHAOS_TURNS"].flatMap(Int.init)

        let plan: Plan
        let load: ChaosLoad
        private let world: ChaosWorld
        private var chance: Chance
        private var members: [Member] = []
        private var fed = 0
        private var actions = 0
        private(set) var counts = Counts()

        init(_ plan: Plan, in world: ChaosWorld) {
            self.plan = plan
            self.world = world
            chance = Chance(seed: plan.seed)
            let conversations = max(8, min(400, plan.turns / 20))
            load = ChaosLoad(
                ids: (0..<conversations).map { "chaos\($0)" },
                events: max(1, plan.turns / conversations),
                countingEvery: 12
            )
        }

        /// Ends when every event is done and every worker has stopped in order.
        func run() async throws {
            let events = load.interleaved
            var done = 0
            for _ in 0..<3 { try add() }
            while done < events.count {
                done = try await world.doneCount()
                try await feed(events, done: done)
                try await reap()
                try await act(isAtWork: done < fed)
                let longest = world.engine.isKafka ? 3_000 : 400
                try await Task.sleep(for: .milliseconds(Int.random(in: 20...longest, using: &chance)))
            }
            try await calm()
        }

        private func crashed(_ status: CInt, _ process: ChaosProcess) {
            counts.crashes.append(status)
            counts.lastWords = String(process.errors.suffix(6_000))
        }

        private func feed(_ events: [InboundEvent], done: Int) async throws {
            let end = min(events.count, events.count * (actions + 1) / plan.actionsMin)
            while fed < end, fed - done < plan.backlogMax {
                let part = events[fed..<min(fed + 40, end)]
                try await world.feed(Array(part))
                fed += part.count
            }
        }

        /// Resumes those whose time has come, and sees who has died.
        private func reap() async throws {
            for index in members.indices.reversed() {
                if let time = members[index].resumesAt, time <= .now {
                    members[index].process.signal(SIGCONT)
                    members[index].resumesAt = nil
                }
                guard members[index].process.hasEnded else { continue }
                let member = members.remove(at: index)
                let status = member.process.waitForEnd(seconds: 1) ?? -1
                if status == SIGKILL, !member.fault.isEmpty {
                    counts.killsAtPoints += 1
                    counts.kills += 1
                } else {
                    crashed(status, member.process)
                }
            }
        }

        private func act(isAtWork: Bool) async throws {
            actions += 1
            // Somebody can always be at work: else nothing would be hit.
            guard members.contains(where: { $0.resumesAt == nil }) else { return try add() }
            switch Int.random(in: 0..<100, using: &chance) {
            case ..<25: try await kill(isAtWork: isAtWork)
            case ..<45: try await suspend()
            case ..<53: try await remove()
            case ..<95 where members.count < plan.workersMax: try add()
            default: break
            }
        }

        private func add() throws {
            let store = "seed=\(UInt64.random(in: 1...1_000_000, using: &chance)),lost=15,refused=15"
            var fault = ""
            if Bool.random(using: &chance), let point = FaultPoint.all.randomElement(using: &chance) {
                fault = "\(point.name):\(Int.random(in: 1...20, using: &chance)):kill"
            }
            let process = try world.worker(ChaosWorld.Faults(fault: fault, store: store))
            members.append(Member(process: process, fault: fault))
            counts.added += 1
        }

        private func kill(isAtWork: Bool) async throws {
            let member = members.remove(at: Int.random(in: members.indices, using: &chance))
            try await world.kill(member.process)
            counts.kills += 1
            if isAtWork { counts.killsAtWork += 1 }
        }

        /// Mostly shorter than the lease; one in three for long enough that another takes over.
        private func suspend() async throws {
            let awake = members.indices.filter { members[$0].resumesAt == nil }
            guard awake.count > 1, awake.count == members.count else { return }
            let index = awake[Int.random(in: awake.indices, using: &chance)]
            let isZombie = Int.random(in: 0..<3, using: &chance) == 0
            let seconds = isZombie ? world.engine.leaseSeconds : Double.random(in: 0.05...1.5, using: &chance)
            guard try await world.suspend(members[index].process) else { return }
            members[index].resumesAt = .now + .seconds(seconds)
            counts.stops += 1
            if isZombie { counts.zombies += 1 }
        }

        private func remove() async throws {
            let awake = members.indices.filter { members[$0].resumesAt == nil }
            guard awake.count > 1 else { return }
            let index = awake[Int.random(in: awake.indices, using: &chance)]
            let member = members.remove(at: index)
            let status = try await ChaosWait.blocking { member.process.end(SIGTERM) }
            counts.removed += 1
            if status == SIGKILL, !member.fault.isEmpty { return counts.killsAtPoints += 1 }
            if status != 0, status != SIGTERM { crashed(status, member.process) }
        }

        /// Nothing happens any more: the stopped ones go on, everybody stops in order.
        private func calm() async throws {
            for member in members { member.process.signal(SIGCONT) }
            for member in members {
                let status = try await ChaosWait.blocking { member.process.end(SIGTERM) }
                let isExpected = [0, SIGTERM].contains(status) || status == SIGKILL && !member.fault.isEmpty
                if !isExpected { crashed(status, member.process) }
            }
            members = []
        }
    }

    typealias Chance = SplitMix

    extension Chance {
        /// `SEED=…`, else another each time.
        static var seed: UInt64 {
            ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init)
                ?? UInt64.random(in: 1...999_999_999)
        }
    }
#endif
