import Adapters
import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("Forks")
struct ForkTests {
    private func fork(_ world: ReplayWorld) -> ConversationFork {
        ConversationFork(
            log: world.log,
            sources: SourceNaming(prefix: "penstock.", log: world.log.identity),
            store: world.store,
            worker: WorkerIdentity(name: "test", version: "test"),
            time: world.clock.source,
            chance: .system
        )
    }

    @Test("a fork begins as the other was after that turn, files and all, and each goes its own way")
    func goesOn() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        for turn in 1...20 { try await world.say("message \(turn)", in: "c") }
        try await world.say("write a.txt first", in: "c")
        try await world.say("write a.txt second", in: "c")
        let before = try await store.copy(["c/"])

        let slot = try await fork(world).fork(ReplayWorld.id("c"), turn: 21, to: ReplayWorld.id("f"))
        let source = try #require(try await TurnStore(store).slot(21, of: ReplayWorld.keys("c")))
        let there = try await store.copy(["c/"])
        try await world.say("write b.txt mine", in: "f")
        try await world.say("hello", in: "f")

        #expect(slot.state.entries == source.state.entries && slot.state.segment == source.state.segment)
        #expect(slot.forkedFrom?.turn == 21 && slot.forkedFrom?.stateHash == source.stateHash)
        #expect(before.allSatisfy { there[$0.key] == $0.value } && there.count == before.count + 1)
        let forked = try await world.newest("f")
        #expect(forked.state.turn == 23)
        #expect(try await world.files(forked) == ["a.txt": 5, "b.txt": 4])
        #expect(try await world.files(world.newest("c")) == ["a.txt": 6])
        #expect(try await world.newest("c").state.turn == 22)
        // Its transcript reaches back through the other's segments.
        var entries = forked.state.entries
        var segment = forked.state.segment
        while let key = segment {
            let sealed = try await TurnStore(store).segment(key)
            entries = sealed.entries + entries
            segment = sealed.previous
        }
        #expect(Int64(entries.count) == forked.state.entryCount && entries.first?.text == "message 1")
    }

    @Test("its cost does not depend on how long the other is")
    func constantCost() async throws {
        var costs: [CountingStore.Counts] = []
        for length in [30, 600] {
            let store = CountingStore(MemoryStore())
            let world = try await ReplayWorld(store)
            for turn in 1...length { try await world.say("message \(turn % 10)", in: "c") }
            _ = store.take()
            _ = try await fork(world).fork(ReplayWorld.id("c"), turn: Int64(length), to: ReplayWorld.id("f"))
            costs.append(store.take())
        }
        #expect(costs[0].requests == costs[1].requests && costs[0].requests <= 4, "\(costs)")
    }

    @Test("what is not there is refused, what is there is not forked over, twice is once")
    func refusals() async throws {
        let world = try await ReplayWorld()
        try await world.say("hello", in: "c")
        try await world.say("hello", in: "taken")
        let fork = fork(world)
        await #expect(throws: ConversationFork.Refusal.noSuchTurn) {
            try await fork.fork(ReplayWorld.id("c"), turn: 2, to: ReplayWorld.id("f"))
        }
        await #expect(throws: ConversationFork.Refusal.exists) {
            try await fork.fork(ReplayWorld.id("c"), turn: 1, to: ReplayWorld.id("taken"))
        }
        let first = try await fork.fork(ReplayWorld.id("c"), turn: 1, to: ReplayWorld.id("f"))
        let again = try await fork.fork(ReplayWorld.id("c"), turn: 1, to: ReplayWorld.id("f"))
        #expect(first == again)
        try await world.say("write a.txt x", in: "f")
        let second = try await fork.fork(ReplayWorld.id("f"), turn: 2, to: ReplayWorld.id("g"))
        #expect(try await world.files(second) == ["a.txt": 1])
        await #expect(throws: ConversationFork.Refusal.exists) {
            try await fork.fork(ReplayWorld.id("c"), turn: 1, to: ReplayWorld.id("f"))
        }
    }
}
