#if FAULT_POINTS
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
            let point: String
            let successor: Successor

            var testDescription: String {
                "\(point), then \(successor == .itself ? "it restarts" : "another takes over")"
            }

            /// The first time is enough where it happens once, or where the first is already in the middle.
            var nth: Int {
                ["join", "claim", "assign", "poll", "attempt", "journal", "revoke", "leave"]
                    .contains { point.hasPrefix($0) } ? 1 : 3
            }

            var isJoining: Bool { ["join", "claim", "assign"].contains { point.hasPrefix($0) } }
            var isParting: Bool { ["revoke", "leave"].contains { point.hasPrefix($0) } }
        }

        private static let crashes = FaultPoint.all.flatMap { point in
            Successor.allCases.map { Crash(point: point.name, successor: $0) }
        }

        @Test("every event is answered once, in order, and the state is their fold", arguments: crashes)
        func crash(_ crash: Crash) async throws {
            try await ChaosSlots.busy.run {
                let world = try await ChaosWorld()
                // Half of them on each of two members, however these share twelve partitions.
                let ids = ChaosLoad.ids(inPartitions: [0, 1, 6, 7])
                let load = ChaosLoad(ids: ids, events: 5, countingEvery: 3)

                try await run(crash, load, in: world)
                try await world.waitUntilDone()
                let check = try await ChaosCheck(load, in: world)
                try await world.close()

                #expect(check.problems.isEmpty, "\(check.summary)")
                #expect(check.replyCount == load.eventCount && check.turnCount == load.eventCount)
            }
        }

        /// Ends with somebody at work who does not die.
        private func run(_ crash: Crash, _ load: ChaosLoad, in world: ChaosWorld) async throws {
            let mark = crash.point == "claim.after" ? "" : "claim.after:1:pause-0,"
            let fault = ChaosWorld.Faults(fault: "\(mark)\(crash.point):\(crash.nth):kill")
            switch (crash.successor, crash.isJoining, crash.isParting) {
            case (.itself, _, false):
                try await world.feed(load.interleaved)
                try await world.waitForDeath(try world.worker(fault))
                _ = try world.worker()
            case (.another, true, _):
                try await world.feed(load.interleaved)
                // Its first look at the group is before there is anything to share.
                let other = try world.worker(ChaosWorld.Faults(fault: "claim.after:1:pause-0"))
                try await world.wait(for: other, at: "claim.after")
                try await world.waitForDeath(try world.worker(fault))
            case (.another, false, false):
                let first = try world.worker(fault)
                // Fed once both are there; but attempts are counted only of events that were there before the
                // partition was assigned.
                if crash.point.hasPrefix("attempt") { try await world.feed(load.interleaved) }
                try await world.wait(for: first, at: "claim.after")
                let other = try world.worker(ChaosWorld.Faults(fault: "claim.before:1:pause-0"))
                try await world.wait(for: other, at: "claim.before")
                if !crash.point.hasPrefix("attempt") { try await world.feed(load.interleaved) }
                try await world.waitForDeath(first)
            case (_, _, true):
                try await part(crash, fault, load, in: world)
            }
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
            try await world.wait(for: first, at: "claim.after")
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
