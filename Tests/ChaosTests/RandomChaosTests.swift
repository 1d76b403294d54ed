#if FAULT_POINTS
    import KafkaLog
    import Testing

    @Suite("Chaos: whatever happens")
    struct RandomChaosTests {
        @Test(
            "every event is answered once, in order, and the state is their fold",
            arguments: ChaosEngine.all(.dynamic)
        )
        func random(engine: ChaosEngine) async throws {
            let seed = Chance.seed
            // Less than a minute's worth; a group on Kafka takes seconds to settle.
            let turns = ChaosRun.turnsWanted ?? (engine.isKafka ? 600 : 1_600)
            let actionsMin = max(engine.isKafka ? 24 : 120, turns / 25)
            _ = try await ChaosPlaces.busy.run(engine, isFresh: true, isClean: \.self) { world in
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
                return check.problems.isEmpty && counts.crashes.isEmpty
            }
        }
    }
#endif
