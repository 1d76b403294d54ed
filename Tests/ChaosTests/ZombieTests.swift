#if FAULT_POINTS
    import Glibc
    import KafkaLog
    import Testing

    /// A worker is stopped in the middle of a turn, loses its partitions, and goes on when another has done
    /// its work: it must change nothing.
    @Suite("Chaos: a zombie")
    struct ZombieTests {
        struct Stop: Sendable, CustomTestStringConvertible {
            let engine: ChaosEngine
            let point: String

            var testDescription: String { "\(engine.name): \(point)" }
        }

        private static let stops = ChaosEngine.all(.static).flatMap { engine in
            [
                "poll.after", "load.after", "journal.before", "seal.before", "seal.after", "hand.before",
                "begin.before", "commit.after",
            ].map { Stop(engine: engine, point: $0) }
        }

        @Test("stopped at a point, it loses its partitions and goes on too late", arguments: stops)
        func late(_ stop: Stop) async throws {
            try await ChaosPlaces.waiting.run(stop.engine, isFresh: true) { world in
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: [0, 1, 6, 7]),
                    events: 4,
                    countingEvery: 2
                )
                let zombie = try world.worker(ChaosWorld.Faults(fault: "\(stop.point):1:hold"))
                try await world.feed(load.interleaved)
                try await world.wait(for: zombie, at: stop.point)
                try await world.suspend(zombie)
                let other = try world.worker()
                try await world.waitUntilDone()

                world.release(zombie, from: stop.point)
                zombie.signal(SIGCONT)
                // It finishes what it can before it ends, if it is let.
                try await world.stop(zombie)
                try await world.stop(other)
                let check = try await ChaosCheck.settled(load, in: world)

                #expect(check.problems.isEmpty, "\(check.summary)")
            }
        }

        @Test("stopped within a transaction of the embedded log, it makes the others wait, and loses nothing")
        func inTransaction() async throws {
            try await ChaosPlaces.busy.run(.embedded) { world in
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: [0, 1, 6, 7]),
                    events: 4,
                    countingEvery: 0
                )
                let zombie = try world.worker(
                    ChaosWorld.Faults(fault: "assign.after:1:pause-0,commit.before:1:stop")
                )
                try await world.wait(for: zombie, at: "assign.after")
                let other = try world.worker(ChaosWorld.Faults(fault: "join.after:1:pause-0"))
                try await world.wait(for: other, at: "join.after")
                try await world.feed(load.conversations.map { $0.events[0] })
                try await world.waitForStop(zombie)
                #expect(world.holdsLog(zombie))
                let later = load.interleaved.dropFirst(load.conversations.count)
                async let waiting: Void = world.feed(Array(later))

                zombie.signal(SIGCONT)
                try await waiting
                try await world.waitUntilDone()
                try await world.stop(zombie)
                try await world.stop(other)
                let check = try await ChaosCheck.settled(load, in: world)

                #expect(check.problems.isEmpty, "\(check.summary)")
            }
        }
    }
#endif
