import Adapters
import Foundation
import JSON
import Pipeline
import PipelineTesting
import Testing
import Topics

/// Turns on SeaweedFS behind a proxy that answers 503, resets, loses answers, cuts them and stalls; two
/// workers take every event, as when one was believed dead.
@Suite("Interop: S3 on bad days", .serialized)
struct S3FaultTests {
    private static let conversations = number("FAULT_CONVERSATIONS", 6)
    private static let events = number("FAULT_EVENTS", 6)

    /// More for a longer run by hand.
    private static func number(_ name: String, _ usual: Int) -> Int {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? usual
    }

    @Test(
        "no turn is lost, doubled or forked, and both workers give the same answer",
        .timeLimit(.minutes(20))
    )
    func faults() async throws {
        let python = try await PythonEnvironment.python()
        let server = try await S3Server(.seaweed, python)
        defer { server.stop() }
        try await server.createBucket()
        let seed = UInt64(ProcessInfo.processInfo.environment["SEED"] ?? "") ?? UInt64(getpid())
        let proxy = try FaultProxy(before: server.port, seed: seed, share: 0.3, python)
        let store = server.store(port: proxy.port) { settings in
            settings.limits = HTTPLimits(total: .seconds(20), silence: .seconds(1), bodyBytesMax: 1 << 24)
        }
        let workers = ["worker-a", "worker-b"].map { Worker($0, store) }

        let outputs = await withTaskGroup(of: (Int, Int, [[NewRecord]?]).self) { group in
            for conversation in 0..<Self.conversations {
                for (number, worker) in workers.enumerated() {
                    group.addTask {
                        var outputs: [[NewRecord]?] = []
                        for event in 0..<Self.events {
                            outputs.append(await worker.handle(conversation, event))
                        }
                        return (conversation, number, outputs)
                    }
                }
            }
            var all: [[[[NewRecord]?]]] = Array(
                repeating: Array(repeating: [], count: 2),
                count: Self.conversations
            )
            for await (conversation, worker, outputs) in group { all[conversation][worker] = outputs }
            return all
        }
        let counts = try proxy.stop()

        #expect(counts.contains("lose") && counts.contains("stall"), "SEED=\(seed): \(counts)")
        if Self.events > 6 { FileHandle.standardError.write(Data("faults: \(counts)".utf8)) }
        let plain = TurnStore(server.store)
        for conversation in 0..<Self.conversations {
            let both = outputs[conversation]
            let note: Comment = "conversation \(conversation), SEED=\(seed), \(counts)"
            #expect(Self.replies(both[0]) == Self.replies(both[1]), note)
            #expect(Self.replies(both[0]).map(\.count) == Array(repeating: 1, count: Self.events), note)
            let keys = ConversationKeys(Worker.event(conversation, 0).partitionkey)
            let newest = try #require(try await plain.newest(keys))
            #expect(newest.state.turn == Int64(Self.events), note)
            let said = newest.state.entries.filter { $0.role == .user }.map(\.text)
            #expect(said == (0..<Self.events).map { "message \($0)" }, note)
            var previous: String?
            for turn in 1...Int64(Self.events) {
                let slot = try #require(try await plain.slot(turn, of: keys))
                #expect(slot.events.map(\.offset) == [turn - 1] && slot.previous == previous, note)
                previous = slot.stateHash
            }
        }
    }

    @Test("a try whose mark was written and whose answer was lost counts once", .timeLimit(.minutes(2)))
    func attempts() async throws {
        let python = try await PythonEnvironment.python()
        let server = try await S3Server(.moto, python)
        defer { server.stop() }
        try await server.createBucket()
        let proxy = try FaultProxy(before: server.port, seed: 7, share: 0.5, python)
        let store = TurnStore(
            server.store(port: proxy.port) { settings in
                settings.attemptsMax = 40
                settings.limits = HTTPLimits(
                    total: .milliseconds(1_500),
                    silence: .milliseconds(1_500),
                    bodyBytesMax: 1 << 24
                )
            }
        )
        let source = EventSource(
            log: "l",
            topic: "events",
            partition: 0,
            offset: 1,
            eventID: "e",
            dedupekey: "d"
        )
        for number in 1...3 {
            let count = try await store.countAttempt(
                turn: 1,
                of: ConversationKeys("c"),
                source: source,
                most: 10,
                mark: "mark-\(number)"
            )
            #expect(count == number)
        }
        let counts = try proxy.stop()
        #expect(counts.contains("lose"), "\(counts)")
    }

    private static func replies(_ outputs: [[NewRecord]?]) -> [[String]] {
        outputs.map { records in
            (records ?? []).filter { $0.topic == "penstock.replies" }.map {
                String(decoding: $0.value, as: UTF8.self)
            }
        }
    }
}

/// A worker that answers with its own name, so that two answers to one event would differ.
private struct Worker {
    let stage: TurnStage
    let assignment = Assignment(
        partition: TopicPartition("penstock.events", 0),
        progress: Progress(low: 0),
        freshFrom: 1_000
    )

    init(_ name: String, _ store: S3Store) {
        let model = ScriptedModel { request, call throws(ModelError) in
            ScriptedModel.say("\(name), call \(call)")
        }
        let tools = AgentTools(
            skills: SkillCatalog(),
            runner: SkillRunner(sandbox: FakeSandbox([:]), limits: .standard)
        )
        var settings = AgentSettings()
        // Both are always alive, so that marks count the tries of both.
        settings.attemptsMax = 20
        stage = TurnStage(
            agent: Agent(model: model, tools: tools, settings: settings),
            store: store,
            folders: StandInFolders.none,
            worker: WorkerIdentity(name: name, version: "test"),
            sources: SourceNaming(prefix: "penstock.", log: "log-1"),
            time: .system,
            chance: .system,
            live: LiveFeed()
        )
    }

    func handle(_ conversation: Int, _ number: Int) async -> [NewRecord]? {
        let event = Self.event(conversation, number)
        let new = event.record(topic: "penstock.events")
        let record = LogRecord(
            position: RecordPosition(TopicPartition("penstock.events", 0), Int64(number)),
            time: event.recordedtime,
            key: new.key,
            headers: new.headers,
            value: new.value
        )
        return await stage.handle(record, in: assignment)
    }

    static func event(_ conversation: Int, _ number: Int) -> InboundEvent {
        var data = EventData()
        data.platform = "webhook"
        data.account = EventAccount(id: "a")
        data.conversation = EventConversation(id: "c\(conversation)", kind: .direct)
        data.sender = EventSender(id: "bob", kind: .human)
        data.reply = EventReply(handle: "c")
        var message = EventMessage()
        message.id = "\(number)"
        message.text = "message \(number)"
        data.message = message
        let time = Timestamp(milliseconds: 1_790_000_000_000)
        return InboundEvent(
            id: "event-\(conversation)-\(number)",
            type: .messageCreated,
            time: time,
            recordedtime: time,
            dedupekey: "dedupe-\(conversation)-\(number)",
            data: data
        )
    }
}
