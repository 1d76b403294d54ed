#if FAULT_POINTS
    import Foundation
    import KafkaLog
    import Pipeline
    import Testing

    /// A worker dies by SIGKILL at every named point of the turn protocol, and what comes after it makes
    /// whole what it left.
    @Suite("Chaos: a crash at every point")
    struct CrashPointTests {
        enum Successor: String, Sendable, CaseIterable {
            /// The worker that died starts again; there is no other.
            case itself
            /// Another worker is a member already and takes over.
            case another
        }

        struct Crash: Sendable, CustomTestStringConvertible {
            let engine: ChaosEngine
            let point: String
            let successor: Successor

            var testDescription: String {
                "\(engine.name): \(point), then \(successor == .itself ? "it restarts" : "another takes over")"
            }

            /// The first time is enough where it happens once, or where the first is already in the middle.
            var nth: Int {
                ["join", "claim", "assign", "poll", "attempt", "journal", "revoke", "leave"]
                    .contains { point.hasPrefix($0) } ? 1 : 3
            }

            var isJoining: Bool { ["join", "claim", "assign"].contains { point.hasPrefix($0) } }
            var isParting: Bool { ["revoke", "leave"].contains { point.hasPrefix($0) } }
        }

        /// `CHAOS_POINT=…` for one point alone.
        private static let wanted = ProcessInfo.processInfo.environment["CHAOS_POINT"]

        private static let crashes = ChaosEngine.all(.static).flatMap { engine in
            FaultPoint.all.filter { point in
                (wanted ?? point.name) == point.name && !(engine.isKafka && point.name.hasPrefix("claim"))
            }.flatMap { point in
                Successor.allCases.map { Crash(engine: engine, point: point.name, successor: $0) }
            }
        }

        @Test("every event is answered once, in order, and the state is their fold", arguments: crashes)
        func crash(_ crash: Crash) async throws {
            let places = crash.successor == .itself && !crash.isParting ? ChaosPlaces.busy : .pairs
            // The group gives a static member its old partitions back: nothing is revoked then.
            try await places.run(crash.engine, isFresh: crash.isParting) { world in
                // Half of them on each of two members, however these share the partitions.
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: Array(0..<12), stem: "\(world.folder.suffix(6))-"),
                    events: 3,
                    countingEvery: 3
                )

                try await run(crash, load, in: world)
                try await world.waitUntilDone()
                let check = try await ChaosCheck.settled(load, in: world)

                #expect(check.problems.isEmpty, "\(check.summary)")
                #expect(check.replyCount == load.eventCount && check.turnCount == load.eventCount)
            }
        }

        /// Ends with somebody at work who does not die.
        private func run(_ crash: Crash, _ load: ChaosLoad, in world: ChaosWorld) async throws {
            let mark = crash.isJoining ? "" : "assign.after:1:pause-0,"
            let fault = ChaosWorld.Faults(fault: "\(mark)\(crash.point):\(crash.nth):kill")
            if crash.point.hasPrefix("attempt") { try await tryOnce(load, in: world) }
            switch (crash.successor, crash.isJoining, crash.isParting) {
            case (.itself, _, false):
                if !crash.point.hasPrefix("attempt") { try await world.feed(load.interleaved) }
                try await world.waitForDeath(try world.worker(fault))
                _ = try world.worker()
            case (.another, true, _):
                try await world.feed(load.interleaved)
                // Its first look at the group is before there is anything to share.
                let other = try world.worker(ChaosWorld.Faults(fault: "assign.after:1:pause-0"))
                try await world.wait(for: other, at: "assign.after")
                try await world.waitForDeath(try world.worker(fault))
            case (.another, false, false):
                let first = try world.worker(fault)
                // Fed once both are there; but attempts are counted only of events that were tried before.
                try await world.wait(for: first, at: "assign.after")
                let other = try world.worker(ChaosWorld.Faults(fault: "join.after:1:pause-0"))
                try await world.wait(for: other, at: "join.after")
                if !crash.point.hasPrefix("attempt") { try await world.feed(load.interleaved) }
                try await world.waitForDeath(first)
            case (_, _, true):
                try await part(crash, fault, load, in: world)
            }
        }

        /// Attempts are counted of events that a worker before may have begun.
        private func tryOnce(_ load: ChaosLoad, in world: ChaosWorld) async throws {
            try await world.feed(load.interleaved)
            try await world.waitForDeath(try world.worker(ChaosWorld.Faults(fault: "execute.before:1:kill")))
        }

        /// The points that are passed when a partition is wanted back, or on a stop in order.
        private func part(
            _ crash: Crash,
            _ fault: ChaosWorld.Faults,
            _ load: ChaosLoad,
            in world: ChaosWorld
        ) async throws {
            let isRevoke = crash.point.hasPrefix("revoke")
            let first = try world.worker(fault)
            try await world.wait(for: first, at: "assign.after")
            try await world.feed(load.interleaved)
            if isRevoke || crash.successor == .another { _ = try world.worker() }
            if !isRevoke {
                try await world.wait(seconds: 60, "an event done") { try await world.doneCount() > 0 }
                first.signal(15)
            }
            try await world.waitForDeath(first)
            if crash.successor == .itself { _ = try world.worker() }
        }
    }
#endif
