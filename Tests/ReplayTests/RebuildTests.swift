import Foundation
import JSON
import Pipeline
import PipelineTesting
import Synchronization
import Testing
import Topics

@Suite("Rebuild from the log")
struct RebuildTests {
    private func rebuild(_ world: ReplayWorld, noteEvery: Int64 = 500) -> LogRebuild {
        LogRebuild(log: world.log, topicPrefix: "penstock.", store: world.store, noteEvery: noteEvery)
    }

    /// Conversations of every kind: long ones, with files, given up, forked.
    private func fill(_ world: ReplayWorld, conversations: Int) async throws {
        for number in 0..<conversations {
            let name = "c\(number)"
            try await world.say("hello \(number)", in: name)
            switch number % 10 {
            case 0: try await world.say("write a.txt \(number)x", in: name)
            case 1: try await world.say("fail", in: name)
            case 2: for turn in 0..<6 { try await world.say("message \(turn)", in: name) }
            default: break
            }
            try await world.say("bye \(number)", in: name)
        }
        for turn in 0..<140 { try await world.say("long \(turn)", in: "long") }
        try await world.say("write b.txt 2000", in: "long")
        try await world.flush()
        let fork = ConversationFork(
            log: world.log,
            sources: SourceNaming(prefix: "penstock.", log: world.log.identity),
            store: world.store,
            worker: WorkerIdentity(name: "test", version: "test"),
            time: world.clock.source,
            chance: .system
        )
        _ = try await fork.fork(ReplayWorld.id("long"), turn: 70, to: ReplayWorld.id("fork"))
        try await world.say("in the fork", in: "fork")
        try await world.flush()
    }

    @Test("1,000 conversations are made again, every slot, segment and file the same byte for byte")
    func equal() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        try await fill(world, conversations: 1_000)
        let before = try await store.copy(["/t/", "/s/", "b/"])
        #expect(before.count > 2_800)
        try await store.wipe()

        let report = try await rebuild(world).run(only: nil) { _ in }
        let after = try await store.copy(["/t/", "/s/", "b/"])
        let again = try await rebuild(world).run(only: nil) { _ in }

        #expect(report.problems == 0 && report.filesLost == 0 && report.withoutOutbox == 0, "\(report)")
        #expect(report.created == Int64(before.keys.filter { $0.contains("/t/") }.count))
        #expect(Set(after.keys).symmetricDifference(before.keys).sorted().prefix(3) == [])
        #expect(before.filter { after[$0.key] != $0.value }.keys.sorted().prefix(3) == [])
        #expect(again.created == 0 && again.unchanged == report.created)
        // And it goes on from there.
        let next = try await ReplayWorld(store, after: world)
        try await next.say("still there?", in: "long")
        let slot = try await next.newest("long")
        #expect(slot.state.turn == 142)
        #expect(try await next.files(slot) == ["b.txt": 2_000])
    }

    @Test("a rebuild that is stopped goes on where it was, and ends in the same")
    func resumes() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        try await fill(world, conversations: 60)
        let before = try await store.copy(["/t/", "/s/", "b/"])
        try await store.wipe()
        let seen = Mutex<Int64>(0)
        let started = Mutex<Task<LogRebuild.Report, any Error>?>(nil)
        let first = Task {
            try await rebuild(world, noteEvery: 3).run(only: nil) { count in
                let sum = seen.withLock { seen in
                    seen += count
                    return seen
                }
                if sum >= 100 { started.withLock { $0?.cancel() } }
            }
        }
        started.withLock { $0 = first }
        _ = await first.result

        let found = try await StoreGuard.examine(store, log: world.log, topicPrefix: "penstock.")
        let report = try await rebuild(world).run(only: nil) { _ in }
        let total = try await rebuild(world).total()

        #expect(found == .halfRebuilt || report.records == 0)
        #expect(report.records < total)
        let after = try await store.copy(["/t/", "/s/", "b/"])
        #expect(Set(after.keys).symmetricDifference(before.keys).sorted().prefix(3) == [])
        #expect(before.filter { after[$0.key] != $0.value }.keys.sorted().prefix(3) == [])
        #expect(try await StoreGuard.examine(store, log: world.log, topicPrefix: "penstock.") == .usable)
    }

    @Test("an empty store beside a log with turns is not taken for a new one")
    func guarded() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        #expect(try await StoreGuard.examine(store, log: world.log, topicPrefix: "penstock.") == .usable)
        try await world.say("hello", in: "c")
        try await world.flush()
        try await store.wipe()

        let found = try await StoreGuard.examine(store, log: world.log, topicPrefix: "penstock.")

        #expect(found == .lost(turns: 1))
    }

    @Test("large files do not travel: what is lost is named, and the conversation goes on")
    func largeFiles() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        try await world.say("write big.bin 50000", in: "c")
        try await world.say("write small.txt small", in: "c")
        try await world.flush()
        try await store.wipe()

        let report = try await rebuild(world).run(only: nil) { _ in }
        let next = try await ReplayWorld(store, after: world)
        let outputs = try await next.say("write more.txt more", in: "c")

        #expect(report.problems == 0 && report.created == 2)
        #expect(
            report.filesLost >= 1 && report.filesLostWords.allSatisfy { $0.contains("big.bin, 50000 bytes") }
        )
        let slot = try await next.newest("c")
        #expect(slot.state.turn == 3 && outputs?.isEmpty == false)
        let told = slot.state.entries.last { $0.role == .tool }
        #expect(told?.isError == true && told?.text.contains("can not be read") == true)
        await #expect(throws: TurnFailure.self) { try await next.files(slot) }
    }

    @Test("a log that has lost its first turns gives what follows the first whole state on it")
    func cutLog() async throws {
        let full = MemoryStore()
        let world = try await ReplayWorld(full)
        for turn in 1...70 { try await world.say("message \(turn)", in: "c") }
        try await world.flush()
        let cut = try await ReplayWorld(MemoryStore())
        for partition in Int32(0)..<12 {
            let place = TopicPartition("penstock.turns", partition)
            let page = try await world.log.read(place, from: 0, recordsMax: 1_000, wait: .zero)
            let kept = try page.records.filter { try TurnRecord(json: $0.value).turn > 60 }
            guard !kept.isEmpty else { continue }
            _ = try await cut.log.append(
                kept.map {
                    NewRecord(
                        topic: "penstock.turns",
                        key: String(decoding: $0.key, as: UTF8.self),
                        headers: $0.headers,
                        value: $0.value
                    )
                }
            )
        }

        let report = try await rebuild(cut).run(only: nil) { _ in }

        #expect(report.created == 7 && report.problems == 3 && report.withoutOutbox == 7, "\(report)")
        #expect(try await cut.newest("c").stateHash == world.newest("c").stateHash)
    }
}
