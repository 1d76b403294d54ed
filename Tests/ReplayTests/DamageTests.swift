import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("Damage in the store")
struct DamageTests {
    @Test(
        "a worker that meets damaged slots takes the turn before and the log, and goes on",
        arguments: [1, 2, 5]
    )
    func slots(damaged: Int) async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        for turn in 1...12 {
            try await world.say("message \(turn)", in: "c")
            try await world.say("other \(turn)", in: "d")
        }
        try await world.flush()
        let before = try await store.copy(["/t/"])
        for turn in (13 - damaged)...12 { try await store.damage(ReplayWorld.keys("c").slot(Int64(turn))) }

        let next = try await ReplayWorld(store, after: world)
        let outputs = try await next.say("and now?", in: "c")

        #expect(outputs?.contains { $0.topic == "penstock.replies" } == true)
        #expect(outputs?.contains { $0.topic == "penstock.deadletters" } == false)
        let after = try await store.copy(["/t/"])
        #expect(before.allSatisfy { after[$0.key] == $0.value })
        let slot = try await next.newest("c")
        let before12 = try await next.newestHash(before: slot)
        #expect(slot.state.turn == 13 && slot.previous == before12)
    }

    @Test("the first turn, with nothing before it, comes back too")
    func first() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        try await world.say("hello", in: "c")
        try await world.flush()
        try await store.damage(ReplayWorld.keys("c").slot(1))

        let next = try await ReplayWorld(store, after: world)
        try await next.say("and now?", in: "c")

        #expect(try await next.newest("c").state.turn == 2)
    }

    @Test("damage whose turn is not on the log is a dead letter with the key in it, nothing else is lost")
    func notOnTheLog() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        try await world.say("hello", in: "c")
        try await store.damage(ReplayWorld.keys("c").slot(1))

        let next = try await ReplayWorld(store, after: world)
        let outputs = try await next.say("and now?", in: "c")

        let letter = try #require(outputs?.first { $0.topic == "penstock.deadletters" })
        let text = String(decoding: letter.value, as: UTF8.self)
        #expect(text.contains("state_unreadable") && text.contains(ReplayWorld.keys("c").slot(1)))
    }

    @Test("damaged segments and small files are mended by a rebuild of the conversation")
    func mended() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        for turn in 1...20 { try await world.say("message \(turn)", in: "c") }
        try await world.say("write a.txt something", in: "c")
        try await world.flush()
        let before = try await store.copy(["/t/", "/s/", "b/"])
        for key in store.keys where key.contains("/s/") || key.hasPrefix("b/") { try await store.damage(key) }

        let rebuild = LogRebuild(log: world.log, topicPrefix: "penstock.", store: store)
        let report = try await rebuild.run(only: ReplayWorld.id("c")) { _ in }

        #expect(report.problems == 0 && report.filesLost == 0)
        #expect(try await store.copy(["/t/", "/s/", "b/"]) == before)
    }
}

extension ReplayWorld {
    /// The hash of the turn before, as it is stored.
    fileprivate func newestHash(before slot: Slot) async throws -> String? {
        try await TurnStore(store).slot(slot.state.turn - 1, of: ConversationKeys(slot.state.conversation))?
            .stateHash
    }
}
