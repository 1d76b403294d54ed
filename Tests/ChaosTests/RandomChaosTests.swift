#if FAULT_POINTS
    import Foundation
    import Testing

    @Suite("Chaos: whatever happens")
    struct RandomChaosTests {
        /// `CHAOS_TURNS=…` for a long run (`ops/do chaos`), else a minute's worth.
        private static let turns =
            ProcessInfo.processInfo.environment["CHAOS_TURNS"].flatMap(Int.init) ?? 1_600

        @Test("every event is answered once, in order, and the state is their fold")
        func random() async throws {
            try await ChaosSlots.busy.run {
                let seed = Chance.seed
                let world = try await ChaosWorld()
                let run = ChaosRun(ChaosRun.Plan(turns: Self.turns, seed: seed), in: world)
                let start = ContinuousClock.now
                do {
                    try await run.run()
                } catch {
                    throw ChaosFailure("SEED=\(seed) \(error)")
                }
                let check = try await ChaosCheck(run.load, in: world)
                let counts = await run.counts
                try await world.close()
                print(
                    "chaos: SEED=\(seed), \(check.turnCount) turns in \((ContinuousClock.now - start)),",
                    "\(counts.kills) kills (\(counts.killsAtPoints) at points, \(counts.killsAtWork) at work),",
                    "\(counts.stops) stops (\(counts.zombies) past the lease), \(counts.added) workers added,",
                    "\(counts.removed) taken away, \(check.problems.count) problems"
                )

                #expect(check.problems.isEmpty, "SEED=\(seed)\n\(check.summary)")
                #expect(counts.crashes.isEmpty, "SEED=\(seed): ended by themselves: \(counts.crashes)")
                #expect(check.turnCount == run.load.eventCount, "SEED=\(seed)")
                #expect(counts.killsAtWork >= 5 && counts.killsAtPoints >= 1, "SEED=\(seed): too quiet")
            }
        }
    }
#endif
