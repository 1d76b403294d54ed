#if FAULT_POINTS
    import Glibc
    import KafkaLog
    import Pipeline
    import Testing
    import Topics

    /// The harness proves itself: with one rule of the protocol broken, the same scenario that is clean
    /// otherwise has to show it.
    @Suite("Chaos: a broken rule is noticed")
    struct BrokenVariantTests {
        struct Variant: Sendable, CustomTestStringConvertible {
            /// As in `PENSTOCK_BREAK`.
            let name: String
            /// What the checker must find, at least.
            let found: Set<ChaosCheck.Kind>
            let scenario: @Sendable (ChaosWorld, ChaosLoad, _ breakage: String) async throws -> Void

            var testDescription: String { name }
        }

        private static let variants = [
            Variant(name: "no-bitmap", found: [.doubled], scenario: diesAboveAGap),
            Variant(name: "no-epoch", found: [.doubled], scenario: comesBack),
            Variant(name: "own-outbox", found: [.orphan, .silent], scenario: losesTheRace),
            Variant(name: "no-fence", found: [.doubled], scenario: commitsLate),
            Variant(name: "no-put-id", found: [.lost, .silent], scenario: losesAResponse),
        ]

        private static let cases = ChaosEngine.all(.dynamic).flatMap { engine in
            variants.map { Case(engine: engine, variant: $0) }
        }

        struct Case: Sendable, CustomTestStringConvertible {
            let engine: ChaosEngine
            let variant: Variant

            var testDescription: String { "\(engine.name): \(variant.name)" }
        }

        @Test("clean as it is, and not with the rule broken", arguments: cases)
        func broken(_ test: Case) async throws {
            let variant = test.variant
            let sound = try await run(test, breakage: "")
            let broken = try await run(test, breakage: variant.name)

            let first = broken.problems.first.map { "\($0)" } ?? "not noticed"
            print("broken \(variant.name) on \(test.engine.name): \(first)")
            #expect(sound.problems.isEmpty, "\(sound.summary)")
            #expect(broken.kinds.isSuperset(of: variant.found), "found only: \(broken.summary)")
        }

        private func run(_ test: Case, breakage: String) async throws -> ChaosCheck {
            try await ChaosPlaces.waiting.run(test.engine, isClean: { $0.problems.isEmpty }) { world in
                // Two conversations of one partition: one event may be done above another that is not.
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: [5, 5], stem: "\(world.folder.suffix(6))-"),
                    events: 3,
                    countingEvery: 0
                )
                try await test.variant.scenario(world, load, breakage)
                return try await ChaosCheck.settled(load, in: world)
            }
        }

        /// A worker is killed that has done events above one that it has not.
        private static let diesAboveAGap = {
            @Sendable (world: ChaosWorld, load: ChaosLoad, breakage: String) async throws in
            let faults = ChaosWorld.Faults(fault: "execute.before:1:hold", breakage: breakage)
            let first = try world.worker(faults)
            try await world.feed(load.conversations[0].events)
            try await world.wait(for: first, at: "execute.before")
            try await world.feed(load.conversations[1].events)
            try await world.wait(seconds: 60, "three turns") {
                try await world.records(TurnsTopic.topic).count == 3
            }

            try await world.kill(first)
            _ = try world.worker()
            try await world.waitUntilDone()
        }

        /// A worker is stopped in a turn, loses the partition to another who does the event and leaves, and
        /// has the partition back before the turn goes on.
        private static let comesBack = {
            @Sendable (world: ChaosWorld, load: ChaosLoad, breakage: String) async throws in
            let faults = ChaosWorld.Faults(
                fault: "execute.before:1:hold,assign.after:2:pause-0",
                breakage: breakage
            )
            let first = try world.worker(faults)
            try await world.feed(Array(load.conversations[0].events.prefix(1)))
            try await world.wait(for: first, at: "execute.before")
            try await world.suspend(first)
            let second = try world.worker()
            try await world.waitUntilDone()
            try await world.stop(second)

            first.signal(SIGCONT)
            try await world.wait(for: first, at: "assign.after")
            world.release(first, from: "execute.before")
            try await world.feed(load.conversations[0].events.dropFirst() + load.conversations[1].events)
            try await world.waitUntilDone()
            // What is in flight is finished and committed before it ends.
            try await world.stop(first)
        }

        /// Two workers run the same event; the one who has lost the partition seals first.
        private static let losesTheRace = {
            @Sendable (world: ChaosWorld, load: ChaosLoad, breakage: String) async throws in
            let late = try world.worker(
                ChaosWorld.Faults(fault: "seal.before:1:hold,seal.after:1:pause-0")
            )
            try await world.feed(Array(load.conversations[0].events.prefix(1)))
            try await world.wait(for: late, at: "seal.before")
            try await world.suspend(late)
            let owner = try world.worker(
                ChaosWorld.Faults(fault: "seal.before:1:hold", breakage: breakage)
            )
            try await world.wait(for: owner, at: "seal.before")

            world.release(late, from: "seal.before")
            late.signal(SIGCONT)
            try await world.wait(for: late, at: "seal.after")
            world.release(owner, from: "seal.before")
            try await world.waitUntilDone()
            try await world.feed(load.conversations[0].events.dropFirst() + load.conversations[1].events)
            try await world.waitUntilDone()
        }

        /// A worker is stopped between the check of its assignments and its transaction, and goes on when
        /// another has done the event.
        private static let commitsLate = {
            @Sendable (world: ChaosWorld, load: ChaosLoad, breakage: String) async throws in
            // On Kafka no lock is held between these two, and only the latter is behind the check.
            let point = world.engine.isKafka ? "begin.after" : "begin.before"
            let late = try world.worker(
                ChaosWorld.Faults(fault: "\(point):1:hold", breakage: breakage)
            )
            try await world.feed(load.interleaved)
            try await world.wait(for: late, at: point)
            try await world.suspend(late)
            _ = try world.worker()
            try await world.waitUntilDone()

            world.release(late, from: point)
            late.signal(SIGCONT)
            try await world.stop(late)
        }

        /// The store creates a slot, and its answer does not come.
        private static let losesAResponse = {
            @Sendable (world: ChaosWorld, load: ChaosLoad, breakage: String) async throws in
            _ = try world.worker(ChaosWorld.Faults(breakage: breakage, store: "lose=/t/:2"))
            try await world.feed(load.interleaved)
            try await world.waitUntilDone()
        }
    }
#endif
