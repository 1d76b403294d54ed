import Pipeline
import PipelineTesting
import Synchronization
import Testing
import Topics

@Suite("Sweeps")
struct SweepTests {
    private func sweep(
        _ store: any ObjectStore,
        _ clock: TestClock,
        keepTurns: Int = 1,
        keepFor: Duration = .zero,
        grace: Duration = .seconds(86_400),
        isDryRun: Bool = false
    ) -> StoreSweep {
        let rules = StoreSweep.Rules(
            keepTurns: keepTurns,
            keepFor: keepFor,
            grace: grace,
            isDryRun: isDryRun
        )
        return StoreSweep(store, rules: rules, time: clock.source)
    }

    @Test("the newest turns and the young ones stay with their files, the rest goes, in two sweeps")
    func keeps() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        for turn in 1...10 { try await world.say("write a.txt version\(turn)", in: "c") }
        world.clock.advance(by: .seconds(40 * 86_400))
        for turn in 11...13 { try await world.say("write a.txt version\(turn)", in: "c") }
        let all = store.keys

        let dry = try await sweep(store, world.clock, keepTurns: 5, keepFor: .seconds(86_400), isDryRun: true)
            .run()
        #expect(store.keys == all)
        let report = try await sweep(store, world.clock, keepTurns: 5, keepFor: .seconds(86_400)).run()
        #expect(dry.turnsDeleted == report.turnsDeleted && dry.blobsTrashed == report.blobsTrashed)
        #expect(report.turnsKept == 5 && report.turnsDeleted == 8 && report.blobsDeleted == 0)
        // Eight trees and eight files.
        #expect(report.blobsTrashed == 16 && report.journalsDeleted > 0)
        world.clock.advance(by: .seconds(2 * 86_400))
        let later = try await sweep(store, world.clock, keepTurns: 5, keepFor: .seconds(365 * 86_400)).run()

        #expect(later.blobsDeleted == 16 && later.blobsTrashed == 0 && later.turnsDeleted == 0)
        #expect(!store.keys.contains { $0.hasPrefix("trash/") })
        for turn in Int64(9)...13 {
            let slot = try #require(try await TurnStore(store).slot(turn, of: ReplayWorld.keys("c")))
            #expect(try await world.files(slot) == ["a.txt": "version\(turn)".utf8.count])
        }
        let next = try await ReplayWorld(store, after: world)
        try await next.say("write b.txt more", in: "c")
        #expect(try await next.files(next.newest("c")).count == 2)
    }

    @Test("while anything can not be read no file is touched, for it may be named there")
    func unreadable() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        for turn in 1...4 { try await world.say("write a.txt version\(turn)", in: "c") }
        try await world.say("hello", in: "d")
        try await store.damage(ReplayWorld.keys("d").slot(1))
        let blobs = store.keys.filter { $0.hasPrefix("b/") }

        let report = try await sweep(store, world.clock).run()

        #expect(report.unreadable.count == 1 && report.blobsTrashed == 0)
        #expect(store.keys.filter { $0.hasPrefix("b/") } == blobs)
    }

    @Test("what an undecided turn's journal names is kept, however long it stays undecided")
    func journals() async throws {
        let store = MemoryStore()
        let world = try await ReplayWorld(store)
        try await world.say("write a.txt one", in: "c")
        // Its worker died between the journal's last entry and the slot.
        try await store.delete(ReplayWorld.keys("c").slot(1))

        for _ in 0..<3 {
            _ = try await sweep(store, world.clock).run()
            world.clock.advance(by: .seconds(3 * 86_400))
        }

        let hash = try #require(store.keys.first { $0.hasPrefix("b/") })
        #expect(store.keys.filter { $0.hasPrefix("b/") }.count == 2, "\(hash)")
        #expect(!store.keys.contains { $0.hasPrefix("trash/") })
    }

    /// Runs sweeps in the middle of a turn, at one of its requests.
    private final class Meddler: ObjectStore {
        private let base: MemoryStore
        private let state = Mutex((count: 0, at: Int?.none))
        private let meddle: @Sendable (MemoryStore) async throws -> Void

        init(_ base: MemoryStore, _ meddle: @escaping @Sendable (MemoryStore) async throws -> Void) {
            self.base = base
            self.meddle = meddle
        }

        func arm(at request: Int) { state.withLock { $0 = (0, request) } }
        var hasMeddled: Bool { state.withLock { state in state.at.map { state.count > $0 } ?? false } }

        private func step() async {
            let isNow = state.withLock { state in
                state.count += 1
                return state.at == state.count - 1
            }
            if isNow {
                do { try await meddle(base) } catch { Issue.record("\(error)") }
            }
        }

        func get(_ key: String) async throws(ObjectStoreError) -> StoredObject? {
            await step()
            return try await base.get(key)
        }

        func put(_ key: String, _ body: [UInt8], if condition: PutCondition) async throws(ObjectStoreError)
            -> PutResult
        {
            await step()
            return try await base.put(key, body, if: condition)
        }

        func list(prefix: String, after: String?, limit: Int) async throws(ObjectStoreError) -> ObjectListing
        {
            await step()
            return try await base.list(prefix: prefix, after: after, limit: limit)
        }

        func delete(_ key: String) async throws(ObjectStoreError) {
            await step()
            try await base.delete(key)
        }
    }

    /// A file comes, goes, is swept, and comes again while a sweep runs at the given request of that turn.
    /// Returns whether its turn had so many requests, and what was wrong afterwards.
    private func attack(
        at request: Int,
        isInTrash: Bool,
        isFork: Bool,
        grace: Duration
    ) async throws -> (hasMeddled: Bool, problems: [String]) {
        let base = MemoryStore()
        let clock = Mutex<TestClock?>(nil)
        let meddler = Meddler(base) { store in
            guard let clock = clock.withLock({ $0 }) else { return }
            for _ in 0..<2 {
                _ = try await self.sweep(store, clock, grace: grace).run()
                clock.advance(by: .seconds(1))
            }
        }
        let world = try await ReplayWorld(meddler)
        clock.withLock { $0 = world.clock }
        try await world.say("write x.txt same", in: "c")
        try await world.say("drop x.txt", in: "c")
        if isInTrash {
            _ = try await sweep(base, world.clock, grace: grace).run()
            world.clock.advance(by: .seconds(2 * 86_400))
        }
        meddler.arm(at: request)
        if isFork {
            let fork = ConversationFork(
                log: world.log,
                sources: SourceNaming(prefix: "penstock.", log: world.log.identity),
                store: meddler,
                worker: WorkerIdentity(name: "test", version: "test"),
                time: world.clock.source,
                chance: .system
            )
            // Swept before it was read: then there is no fork, which is right too.
            _ = try? await fork.fork(ReplayWorld.id("c"), turn: 1, to: ReplayWorld.id("d"))
        } else {
            try await world.say("write x.txt same", in: "c")
        }
        let hasMeddled = meddler.hasMeddled
        meddler.arm(at: .max)
        var problems: [String] = []
        for round in 0..<3 {
            let name = isFork ? "d" : "c"
            if let slot = try await TurnStore(base).newest(ReplayWorld.keys(name)) {
                do {
                    let files = try await world.files(slot)
                    if files != ["x.txt": 4] { problems.append("round \(round): \(files)") }
                } catch {
                    problems.append("round \(round): \(error)")
                }
            }
            _ = try await sweep(base, world.clock, grace: .seconds(86_400)).run()
            world.clock.advance(by: .seconds(2 * 86_400))
        }
        return (hasMeddled, problems)
    }

    @Test(
        "a sweep at any request of a turn, or of a fork, loses no file that is named afterwards",
        arguments: [false, true],
        [false, true]
    )
    func attacks(isInTrash: Bool, isFork: Bool) async throws {
        var request = 0
        while true {
            let (hasMeddled, problems) = try await attack(
                at: request,
                isInTrash: isInTrash && !isFork,
                isFork: isFork,
                grace: .seconds(86_400)
            )
            #expect(problems == [], "at request \(request)")
            guard hasMeddled else { break }
            request += 1
        }
        #expect(request >= (isFork ? 2 : 5))
    }

    @Test("without the days in the trash the same attack loses files, so it would be seen")
    func wouldBeSeen() async throws {
        var lost = 0
        for request in 0..<12 {
            let outcome = try await attack(at: request, isInTrash: false, isFork: false, grace: .zero)
            lost += outcome.problems.isEmpty ? 0 : 1
        }
        #expect(lost > 0)
    }
}
