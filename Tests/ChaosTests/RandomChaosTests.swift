#if FAULT_POINTS
    import Foundation
    import KafkaLog
    import Testing

    @Suite("Chaos: whatever happens")
    struct RandomChaosTests {
        /// `CHAOS_TURNS=…` for a long run (`ops/do chaos`), else less than a minute's worth.
        private static let turns = ProcessInfo.processInfo.environment["CHAOS_TURNS"].flatMap(Int.init)

        @Test(
            "every event is answered once, in order, and the state is their fold",
            arguments: ChaosEngine.all(.dynamic)
        )
        func random(engine: ChaosEngine) async throws {
            let seed = Chance.seed
            // A group on Kafka takes seconds to settle.
            let turns = Self.turns ?? (engine.isKafka ? 600 : 1_600)
            let actionsMin = max(engine.isKafka ? 24 : 120, turns / 25)
            try await ChaosPlaces.busy.run(engine, isFresh: true) { world in
                let run = ChaosRun(ChaosRun.Plan(turns: turns, seed: seed, actionsMin: actionsMin), in: world)
                let start = ContinuousClock.now
                do {
                    try await run.run()
                } catch {
                    throw ChaosFailure("SEED=\(seed) \(error)")
                }
                let check = try await ChaosCheck.settled(run.load, in: world)
                let counts = await run.counts
                print(
                    "chaos on \(engine.name): SEED=\(seed), \(check.turnCount) turns in",
                    "\((ContinuousClock.now - start)), \(counts.kills) kills (\(counts.killsAtPoints) at",
                    "points, \(counts.killsAtWork) at work), \(counts.stops) stops (\(counts.zombies) past",
                    "the lease), \(counts.added) workers added, \(counts.removed) taken away,",
                    "\(check.problems.count) problems"
                )

                #expect(check.problems.isEmpty, "SEED=\(seed)\n\(check.summary)")
                #expect(
                    counts.crashes.isEmpty,
                    "SEED=\(seed): ended by themselves: \(counts.crashes)\n\(counts.lastWords)"
                )
                #expect(check.turnCount == run.load.eventCount, "SEED=\(seed)")
                #expect(counts.kills >= 3, "SEED=\(seed): too quiet")
            }
        }
    }
#endif
