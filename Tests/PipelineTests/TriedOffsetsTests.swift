import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("Which events may have been tried")
struct TriedOffsetsTests {
    private let store = MemoryStore()
    private let place = TopicPartition("penstock.events", 3)

    private func model() -> ScriptedModel { ScriptedModel { _, _ in ScriptedModel.say("fine") } }

    /// A partition that has events below `end` when it is assigned.
    private func stay(end: Int64) -> Assignment {
        Assignment(partition: place, progress: Progress(low: 0), freshFrom: end)
    }

    @discardableResult
    private func handle(_ offset: Int64, in assignment: Assignment, by bench: TurnBench) async -> [NewRecord]?
    {
        let event = TurnBench.event("n\(offset)", id: "event-\(offset)")
        var record = TurnBench.record(event, offset: offset)
        record = LogRecord(
            position: RecordPosition(place, offset),
            time: record.time,
            key: record.key,
            headers: record.headers,
            value: record.value
        )
        return await bench.stage.handle(record, in: assignment)
    }

    private var attempts: Int { store.keys.filter { $0.contains("/a/") }.count }
    private var bounds: [String] { store.keys.filter { $0.hasPrefix("tried/") } }

    @Test("a backlog that nobody has begun needs no attempt marks")
    func backlog() async {
        let bench = TurnBench(store: store, model())
        let stay = stay(end: 100_000)

        for offset in Int64(0)..<20 { await handle(offset, in: stay, by: bench) }

        #expect(attempts == 0)
        #expect(bounds == ["tried/log-1/events/3"])
    }

    @Test("what a worker before may have begun is counted, what came after it is not")
    func counted() async {
        let first = TurnBench(store: store, model())
        await handle(0, in: stay(end: 100_000), by: first)
        let second = TurnBench(store: store, worker: "worker-b", model())
        let stay = stay(end: 100_000)

        await handle(TriedOffsets.stride - 1, in: stay, by: second)
        #expect(attempts == 1)
        await handle(TriedOffsets.stride, in: stay, by: second)
        await handle(TriedOffsets.stride * 3, in: stay, by: second)
        #expect(attempts == 1)
    }

    @Test("an event that came after the partition was assigned is new, whatever the bound")
    func fresh() async {
        let first = TurnBench(store: store, model())
        await handle(0, in: stay(end: 1), by: first)
        let second = TurnBench(store: store, worker: "worker-b", model())

        await handle(1, in: stay(end: 1), by: second)

        #expect(attempts == 0)
    }

    @Test("the bound is in the store before an event begins, and rises with the offsets")
    func durable() async throws {
        let store = store
        let seen = ScriptedModel { _, _ in
            ScriptedModel.say(store.keys.contains { $0.hasPrefix("tried/") } ? "bound" : "no bound")
        }
        let bench = TurnBench(store: store, seen)
        let stay = stay(end: 100_000)

        #expect(TurnBench.replies(await handle(0, in: stay, by: bench)) == ["bound"])
        let before = try await store.get("tried/log-1/events/3")
        await handle(TriedOffsets.stride + 5, in: stay, by: bench)
        #expect(try await store.get("tried/log-1/events/3") != before)
    }

    @Test("many that begin at once write it once")
    func together() async throws {
        let bench = TurnBench(store: store, model())
        let stay = stay(end: 100_000)
        _ = await handle(0, in: stay, by: bench)
        let etag = try await store.get("tried/log-1/events/3")?.etag

        await withTaskGroup { group in
            for offset in Int64(1)..<200 { group.addTask { _ = await handle(offset, in: stay, by: bench) } }
        }

        #expect(try await store.get("tried/log-1/events/3")?.etag == etag)
        #expect(attempts == 0)
    }

    @Test("two workers that both think the partition theirs never lower it")
    func rivals() async throws {
        let first = TurnBench(store: store, model())
        let second = TurnBench(store: store, worker: "worker-b", model())
        let (one, other) = (stay(end: 100_000), stay(end: 100_000))
        await handle(0, in: one, by: first)
        await handle(TriedOffsets.stride * 5, in: other, by: second)
        // Its own bound is old news; the store's is higher.
        await handle(TriedOffsets.stride + 1, in: one, by: first)
        let third = TurnBench(store: store, worker: "worker-c", model())
        let counted = attempts

        await handle(TriedOffsets.stride * 5 + 1, in: stay(end: 100_000), by: third)

        #expect(attempts == counted + 1)
    }

    @Test("a damaged bound counts every event that was there, and is written anew")
    func damaged() async throws {
        _ = try await store.put("tried/log-1/events/3", [1, 2, 3], if: .always)
        let bench = TurnBench(store: store, model())

        await handle(7, in: stay(end: 100_000), by: bench)

        #expect(attempts == 1)
        #expect(try await store.get("tried/log-1/events/3")?.body != [1, 2, 3])
    }

    @Test("a store that does not answer makes the event wait")
    func storeDown() async {
        let bench = TurnBench(store: store, model())
        store.fail(.refused, .lostResponse, .refused, .lostResponse)

        #expect(TurnBench.replies(await handle(0, in: stay(end: 10), by: bench)) == ["fine"])
    }
}
