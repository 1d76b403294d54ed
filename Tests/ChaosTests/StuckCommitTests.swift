#if FAULT_POINTS
    import KafkaLog
    import Testing

    /// The thread that commits stands still for ever, as it does when librdkafka forgets to answer a call.
    @Suite("Chaos: a commit that never comes back")
    struct StuckCommitTests {
        private static let engines = ChaosEngine.all(.static).filter(\.isKafka)

        @Test("the worker starts over, and does what was left", arguments: engines)
        func stuck(engine: ChaosEngine) async throws {
            try await ChaosPlaces.waiting.run(engine, isFresh: true) { world in
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: [0, 1, 6, 7]),
                    events: 4,
                    countingEvery: 0
                )
                let worker = try world.worker(ChaosWorld.Faults(fault: "offsets.before:1:hold"))
                try await world.feed(load.interleaved)
                try await world.wait(for: worker, at: "offsets.before")
                // 45 s until it is noticed, some more until the stuck one is left behind.
                try await world.waitUntilDone(seconds: 150)
                try await world.stop(worker)
                let check = try await ChaosCheck.settled(load, in: world)

                #expect(check.problems.isEmpty, "\(check.summary)")
            }
        }
    }
#endif
