#if FAULT_POINTS
    import Foundation
    import KafkaLog
    import Testing

    /// A worker in a network namespace of its own, whose link goes down: neither side is told that the other
    /// is gone. It loses its partitions, and must neither repeat nor undo what the others did meanwhile.
    @Suite("Chaos: a worker that is cut off")
    struct CutOffTests {
        private static let engines = ChaosEngine.all(.dynamic).filter(\.isKafka)

        /// The link of a worker's network.
        private struct Link {
            let folder: String

            func cut(in world: ChaosWorld) async throws {
                close(open("\(folder)/cut", O_CREAT | O_CLOEXEC, 0o600))
                try await wait(in: world, isCut: true)
            }

            func mend(in world: ChaosWorld) async throws {
                unlink("\(folder)/cut")
                try await wait(in: world, isCut: false)
            }

            private func wait(in world: ChaosWorld, isCut: Bool) async throws {
                try await world.wait(seconds: 10, "the link \(isCut ? "down" : "up")") {
                    (access("\(folder)/is-cut", F_OK) == 0) == isCut
                }
            }
        }

        private func worker(_ world: ChaosWorld) throws -> (ChaosProcess, Link) {
            let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .appending(path: "cut_off.py").path
            let ports = try #require(world.engine.bootstrap).split(separator: ",")
                .compactMap { $0.split(separator: ":").last }.joined(separator: ",")
            let link = Link(folder: world.folder)
            return (try world.worker(through: ["/usr/bin/python3", script, link.folder, ports]), link)
        }

        @Test("alone, then with another that does its work", arguments: engines)
        func cutOff(engine: ChaosEngine) async throws {
            try await ChaosPlaces.busy.run(engine, isFresh: true) { world in
                // Without skills: within a user namespace, theirs would need one more.
                let load = ChaosLoad(
                    ids: ChaosLoad.ids(inPartitions: Array(0..<8)),
                    events: 60,
                    countingEvery: 0
                )
                let events = load.interleaved
                let third = events.count / 3
                let (lonely, link) = try worker(world)
                async let first: Void = world.feed(Array(events[..<third]))
                try await world.wait(seconds: 60, "the first work done") { try await world.doneCount() > 8 }

                // For longer than its session and its transaction last.
                try await link.cut(in: world)
                try await first
                try await Task.sleep(for: .seconds(world.engine.leaseSeconds))
                let undone = try await world.undone().count
                #expect(undone > 0, "it was to be cut off before all was done")
                try await link.mend(in: world)
                try await world.waitUntilDone()

                async let second: Void = world.feed(Array(events[third..<2 * third]))
                let more = third + 8
                try await world.wait(seconds: 60, "more work done") { try await world.doneCount() > more }
                try await link.cut(in: world)
                let other = try world.worker()
                try await second
                try await world.waitUntilDone()
                try await link.mend(in: world)
                try await world.feed(Array(events[(2 * third)...]))
                try await world.waitUntilDone()
                try await world.stop(lonely)
                try await world.stop(other)
                let check = try await ChaosCheck.settled(load, in: world)

                #expect(check.problems.isEmpty, "\(check.summary)")
            }
        }
    }
#endif
