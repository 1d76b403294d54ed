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

    /// Turns of 4 KiB messages, which fill the window of 64 KiB within ten turns.
    private static func talker(_ store: any ObjectStore) -> TurnBench {
        TurnBench(
            store: store,
            ScriptedModel { request, _ in
                let asked = request.messages.last?.text.utf8.reduce(Int64(7)) { $0 &* 31 &+ Int64($1) } ?? 0
                return ScriptedModel.say(text(asked, bytes: 4_000))
            }
        )
    }

    /// Turns of a few bytes that only make the conversation longer.
    private static func filler(_ store: any ObjectStore) -> TurnBench {
        TurnBench(
            store: store,
            settings: { settings in
                settings.transcript = TranscriptWindow(entriesMax: 4, bytesMax: 1_024)
            },
            ScriptedModel(.deterministic) { _, _ in ScriptedModel.say("yes") }
        )
    }

    private struct Cost {
        var warm = CountingStore.Counts()
        var cold = CountingStore.Counts()
    }

    @Test("requests and bytes of a turn and of a waking are the same at 10 turns as at 10,000")
    func flat() async throws {
        let store = CountingStore(MemoryStore())
        var next: Int64 = 1
        var costs: [Cost] = []
        for length in Self.lengths {
            let filling = Self.filler(store)
            while next <= length - 10 {
                #expect(await filling.handle("go on", offset: next) != nil)
                next += 1
            }
            let bench = Self.talker(store)
            while next <= length {
                #expect(await bench.handle(Self.text(next, bytes: 4_000), offset: next) != nil)
                next += 1
            }
            var cost = Cost()
            _ = store.take()
            for _ in 0..<Self.stretch {
                #expect(await bench.handle(Self.text(next, bytes: 4_000), offset: next) != nil)
                next += 1
            }
            cost.warm = store.take()
            for _ in 0..<Self.wakings {
                let waking = Self.talker(store)
                _ = store.take()
                _ = try await TurnStore(store).newest(ConversationKeys("webhook:a:c"))
                let counts = store.take()
                cost.cold.requests(adding: counts)
                #expect(await waking.handle(Self.text(next, bytes: 4_000), offset: next) != nil)
                next += 1
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

extension CountingStore.Counts {
    fileprivate mutating func requests(adding other: Self) {
        puts += other.puts
        gets += other.gets
        lists += other.lists
        bytesPut += other.bytesPut
        bytesGot += other.bytesGot
    }
}
