import Adapters
import Pipeline
import PipelineTesting
import Testing

/// What a turn costs at 10, 100, 1,000 and 10,000 turns, in requests and bytes; time is a benchmark's matter.
@Suite("Snapshot cost", .serialized)
struct SnapshotCostTests {
    private static let lengths: [Int64] = [10, 100, 1_000, 10_000]
    /// Whole cycles of sealing, which is every third turn here: each stretch has the same share of it.
    private static let stretch: Int64 = 33
    private static let wakings = 9

    /// Text of about a model's answer that compresses as text does.
    private static func text(_ number: Int64, bytes: Int) -> String {
        var text = "turn \(number):"
        var chance = UInt64(bitPattern: number) &* 2_654_435_761 &+ 12_345
        while text.utf8.count < bytes {
            chance = chance &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            text += " " + String((chance >> 40) % 4_096 &* 7_919, radix: 36)
        }
        return String(text.utf8.prefix(bytes)) ?? text
    }

    private struct Cost {
        var warm = CountingStore.Counts()
        var cold = CountingStore.Counts()
    }

    private func talk(_ world: ReplayWorld, _ turn: inout Int64) async throws {
        turn += 1
        let outputs = try await world.say(Self.text(turn, bytes: 4_000), in: "c")
        #expect(outputs != nil)
    }

    /// Writes the slot that as many more turns would leave, but for what they said: `penstock bench snapshot`
    /// takes them all.
    private func skip(to turn: Int64, in store: any ObjectStore) async throws -> Int64 {
        let turns = TurnStore(store)
        var slot = try #require(try await turns.newest(ReplayWorld.keys("c")))
        slot.state.entryCount += 2 * (turn - slot.state.turn)
        slot.state.turn = turn
        slot.stateHash = slot.state.hash
        #expect(try await turns.seal(slot, in: ReplayWorld.keys("c")))
        return turn
    }

    @Test("requests and bytes of a turn and of a waking are the same at 10 turns as at 10,000")
    func flat() async throws {
        let store = CountingStore(MemoryStore())
        var world = try await ReplayWorld(store, isLogged: false)
        var turn: Int64 = 0
        var costs: [Cost] = []
        for length in Self.lengths {
            if length > 1_000 { turn = try await skip(to: length - 10, in: store) }
            // Short turns in a small window: they only make the conversation longer.
            let small = TranscriptWindow(entriesMax: 4, bytesMax: 1_024)
            world = try await ReplayWorld(store, after: world, window: small, isLogged: false)
            while turn < length - 10 {
                turn += 1
                #expect(try await world.say("go on", in: "c") != nil)
            }
            world = try await ReplayWorld(store, after: world, window: .standard, isLogged: false)
            while turn < length { try await talk(world, &turn) }
            var cost = Cost()
            _ = store.take()
            for _ in 0..<Self.stretch { try await talk(world, &turn) }
            cost.warm = store.take()
            for _ in 0..<Self.wakings {
                world = try await ReplayWorld(store, after: world, window: .standard, isLogged: false)
                _ = store.take()
                _ = try await TurnStore(store).newest(ReplayWorld.keys("c"))
                cost.cold += store.take()
                try await talk(world, &turn)
            }
            costs.append(cost)
        }

        let first = costs[0]
        for (cost, length) in zip(costs, Self.lengths) {
            let note: Comment = "at \(length) turns: \(cost), at 10: \(first)"
            // A worker that has the conversation at hand reads nothing.
            #expect(cost.warm.gets == 0 && cost.warm.lists == 0, note)
            #expect(cost.warm.puts * 10 <= first.warm.puts * 11, note)
            #expect(cost.warm.bytesPut * 10 <= first.warm.bytesPut * 11, note)
            #expect(
                cost.cold.lists == Self.wakings && cost.cold.gets == Self.wakings && cost.cold.puts == 0,
                note
            )
            #expect(cost.cold.bytesGot * 10 <= first.cold.bytesGot * 11, note)
        }
    }
}
