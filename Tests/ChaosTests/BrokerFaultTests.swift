#if FAULT_POINTS
    import KafkaLog
    import KafkaTesting
    import PipelineTesting
    import Testing
    import Topics

    /// Three brokers, of which some stop or are killed while workers are at work and events arrive.
    @Suite("Chaos: brokers that go and come back", .enabled(if: OwnBrokers.home != nil))
    struct BrokerFaultTests {
        private enum Fault: String, CaseIterable {
            case stopped
            case killed
            /// Nothing can be written, and nobody decides who leads.
            case twoKilled
        }

        private static let eventsPerRound = 96
        /// In a long run one for each 500 turns that it asks for: a round takes a broker's start and end.
        private static let rounds = max(
            Fault.allCases.count,
            (ChaosRun.turnsWanted ?? 0) / 500
        )

        @Test("every event is answered once, in order, whichever broker goes")
        func brokers() async throws {
            let seed = Chance.seed
            let brokers = try OwnBrokers(try #require(OwnBrokers.home), count: 3)
            var isClean = false
            defer { brokers.end(isClean: isClean) }
            try await ChaosWait.blocking { try brokers.start() }
            let engine = ChaosEngine.kafka(bootstrap: brokers.bootstrap, .static)
            isClean = try await ChaosPlaces.busy.run(engine, isFresh: true, isClean: \.self) { world in
                let load = ChaosLoad(
                    ids: (0..<24).map { "broker\($0)" },
                    events: Self.rounds * Self.eventsPerRound / 24,
                    countingEvery: 4
                )
                let start = ContinuousClock.now
                do {
                    try await run(load, in: world, brokers, seed: seed)
                } catch {
                    throw ChaosFailure("SEED=\(seed) \(error)")
                }
                let check = try await ChaosCheck.settled(load, in: world)
                print(
                    "chaos of three brokers: SEED=\(seed), \(check.turnCount) turns in \(Self.rounds) rounds,",
                    "\(ContinuousClock.now - start), \(check.problems.count) problems"
                )

                #expect(check.problems.isEmpty, "SEED=\(seed)\n\(check.summary)")
                #expect(check.turnCount == load.eventCount, "SEED=\(seed)")
                return check.problems.isEmpty
            }
        }

        @Test(
            "a worker stops in the midst of a commit though its broker is gone for good",
            arguments: ["commit.before", "begin.after"]
        )
        func goneForGood(point: String) async throws {
            let brokers = try OwnBrokers(try #require(OwnBrokers.home))
            defer { brokers.end() }
            try await ChaosWait.blocking { try brokers.start() }
            let engine = ChaosEngine.kafka(bootstrap: brokers.bootstrap, .static)
            try await ChaosPlaces.busy.run(engine, isFresh: true) { world in
                let load = ChaosLoad(ids: ["gone"], events: 1, countingEvery: 0)
                let worker = try world.worker(ChaosWorld.Faults(fault: "\(point):1:hold"))
                try await world.feed(load.interleaved)
                try await world.wait(for: worker, at: point)
                try await ChaosWait.blocking { try brokers.kill() }
                world.release(worker, from: point)
                try await world.stop(worker)
            }
        }

        private func run(
            _ load: ChaosLoad,
            in world: ChaosWorld,
            _ brokers: OwnBrokers,
            seed: UInt64
        ) async throws {
            var chance = Chance(seed: seed)
            let workers = try (0..<2).map { _ in try world.worker() }
            let events = load.interleaved
            for round in 0..<Self.rounds {
                let fault = Fault.allCases[round % Fault.allCases.count]
                let number = Int.random(in: 0..<brokers.count, using: &chance)
                let pause = Int.random(in: 0...1_500, using: &chance)
                let part = events[round * Self.eventsPerRound..<(round + 1) * Self.eventsPerRound]
                let half = part.count / 2
                try await world.feed(Array(part.prefix(half)))
                let rest = Array(part.dropFirst(half))
                let took =
                    if fault == .twoKilled {
                        try await killTwo(number, brokers, world, then: rest)
                    } else {
                        try await loseOne(fault, number, brokers, world, rest, after: pause)
                    }
                print("chaos of three brokers: SEED=\(seed): \(fault) \(number), done after \(took)")
            }
            for worker in workers { try await world.stop(worker) }
        }

        /// In the midst of the work. The two that are left are enough for it.
        private func loseOne(
            _ fault: Fault,
            _ number: Int,
            _ brokers: OwnBrokers,
            _ world: ChaosWorld,
            _ events: [InboundEvent],
            after pause: Int
        ) async throws -> Duration {
            async let fed: Void = world.feed(events)
            try await Task.sleep(for: .milliseconds(pause))
            let began = ContinuousClock.now
            try await ChaosWait.blocking {
                if fault == .stopped { try brokers.stop(number) } else { try brokers.kill(number) }
            }
            try await fed
            try await world.waitUntilDone()
            let took = ContinuousClock.now - began
            try await ChaosWait.blocking { try brokers.start() }
            return took
        }

        /// Between two transactions: Kafka itself may end one halfway when two of three brokers die in its
        /// midst (Kafka.md). What comes then waits until they are back.
        private func killTwo(
            _ number: Int,
            _ brokers: OwnBrokers,
            _ world: ChaosWorld,
            then events: [InboundEvent]
        ) async throws -> Duration {
            try await world.waitUntilDone()
            try await ChaosWait.blocking {
                try brokers.kill(number)
                try brokers.kill((number + 1) % brokers.count)
            }
            async let fed: Void = world.feed(events)
            try await Task.sleep(for: .seconds(5))
            let began = ContinuousClock.now
            try await ChaosWait.blocking { try brokers.start() }
            try await fed
            try await world.waitUntilDone()
            return ContinuousClock.now - began
        }
    }
#endif
