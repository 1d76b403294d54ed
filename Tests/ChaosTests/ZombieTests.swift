#if FAULT_POINTS
    import Glibc
    import Testing

    /// A worker is stopped in the middle of a turn, loses its partitions, and goes on when another has done
    /// its work: it must change nothing.
    @Suite("Chaos: a zombie")
    struct ZombieTests {
        @Test(
            "stopped at a point, it loses its partitions and goes on too late",
            arguments: [
                "poll.after", "load.after", "journal.before", "seal.before", "seal.after", "hand.before",
                "begin.before", "commit.after",
            ]
        )
        func late(point: String) async throws {
            try await ChaosSlots.waiting.run {
                let world = try await ChaosWorld()
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: [0, 1, 6, 7]),
                    events: 4,
                    countingEvery: 2
                )
                let zombie = try world.worker(ChaosWorld.Faults(fault: "\(point):1:hold"))
                try await world.feed(load.interleaved)
                try await world.wait(for: zombie, at: point)
                try await world.suspend(zombie)
                let other = try world.worker()
                try await world.waitUntilDone()

                world.release(zombie, from: point)
                zombie.signal(SIGCONT)
                // It finishes what it can before it ends, if it is let.
                try await world.stop(zombie)
                try await world.stop(other)
                let check = try await ChaosCheck(load, in: world)
                try await world.close()

                #expect(check.problems.isEmpty, "\(check.summary)")
            }
        }

        @Test("stopped within a transaction of the embedded log, it makes the others wait, and loses nothing")
        func inTransaction() async throws {
            try await ChaosSlots.busy.run {
                let world = try await ChaosWorld()
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: [0, 1, 6, 7]),
                    events: 4,
                    countingEvery: 0
                )
                let zombie = try world.worker(
                    ChaosWorld.Faults(fault: "claim.after:1:pause-0,commit.before:1:stop")
                )
                try await world.wait(for: zombie, at: "claim.after")
                let other = try world.worker(ChaosWorld.Faults(fault: "claim.before:1:pause-0"))
                try await world.wait(for: other, at: "claim.before")
                try await world.feed(load.conversations.map { $0.events[0] })
                try await world.waitForStop(zombie)
                #expect(ChaosWorld.holdsLog(zombie.pid))
                let later = load.interleaved.dropFirst(load.conversations.count)
                async let waiting: Void = world.feed(Array(later))

                zombie.signal(SIGCONT)
                try await waiting
                try await world.waitUntilDone()
                try await world.stop(zombie)
                try await world.stop(other)
                let check = try await ChaosCheck(load, in: world)
                try await world.close()

                #expect(check.problems.isEmpty, "\(check.summary)")
            }
        }
    }
#endif
