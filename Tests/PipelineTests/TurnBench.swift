import JSON
import Pipeline
import PipelineTesting
import Synchronization
import Topics

/// A turn stage on a store in memory, for one conversation.
struct TurnBench {
    let objects: any ObjectStore
    /// The store, where it is the memory's own.
    var store: MemoryStore {
        guard let store = objects as? MemoryStore else { preconditionFailure("\(objects)") }
        return store
    }

    let clock = TestClock.hasty()
    let model: ScriptedModel
    let stage: TurnStage
    let assignment = Assignment(
        partition: TopicPartition("penstock.events", 0),
        progress: Progress(low: 0),
        freshFrom: 0
    )

    /// `store`: another bench's, to be its successor.
    init(
        store: any ObjectStore = MemoryStore(),
        worker: String = "worker-a",
        settings change: (inout AgentSettings) -> Void = { _ in },
        skills: SkillCatalog = SkillCatalog(),
        sandbox: any SkillSandbox = FakeSandbox([:]),
        folders: any WorkspaceFolders = StandInFolders.none,
        grants: [String: SkillGrant] = [:],
        _ model: ScriptedModel
    ) {
        objects = store
        self.model = model
        var settings = AgentSettings()
        change(&settings)
        let runner = SkillRunner(sandbox: sandbox, limits: .standard, grants: grants)
        let tools = AgentTools(skills: skills, runner: runner)
        stage = TurnStage(
            agent: Agent(model: model, tools: tools, settings: settings),
            store: store,
            folders: folders,
            worker: WorkerIdentity(name: worker, version: "test"),
            sources: SourceNaming(prefix: "penstock.", log: "log-1"),
            time: clock.source,
            chance: .counting(),
            live: LiveFeed()
        )
    }

    static func event(_ text: String, id: String, dedupe: String? = nil) -> InboundEvent {
        var data = EventData()
        data.platform = "webhook"
        data.account = EventAccount(id: "a")
        data.conversation = EventConversation(id: "c", kind: .direct)
        data.sender = EventSender(id: "bob", kind: .human)
        data.reply = EventReply(handle: "c")
        var message = EventMessage()
        message.id = id
        message.text = text
        data.message = message
        let time = Timestamp(milliseconds: 1_790_000_000_000)
        return InboundEvent(
            id: id,
            type: .messageCreated,
            time: time,
            recordedtime: time,
            dedupekey: dedupe ?? "dedupe-\(id)",
            data: data
        )
    }

    static func record(_ event: InboundEvent, offset: Int64) -> LogRecord {
        let new = event.record(topic: "penstock.events")
        return LogRecord(
            position: RecordPosition(TopicPartition("penstock.events", 0), offset),
            time: event.recordedtime,
            key: new.key,
            headers: new.headers,
            value: new.value
        )
    }

    /// Handles an event, new or delivered again.
    func handle(
        _ text: String,
        offset: Int64,
        id: String? = nil,
        dedupe: String? = nil,
        again: Bool = false
    ) async -> [NewRecord]? {
        let event = Self.event(text, id: id ?? "event-\(offset)", dedupe: dedupe)
        let assignment = again ? self.again : assignment
        return await stage.handle(Self.record(event, offset: offset), in: assignment)
    }

    /// The partition as it is after it was somebody's before.
    let again = Assignment(
        partition: TopicPartition("penstock.events", 0),
        progress: Progress(low: 0),
        freshFrom: 1_000
    )

    static func replies(_ records: [NewRecord]?) -> [String]? {
        records?.filter { $0.topic == "penstock.replies" }.compactMap { try? Reply(json: $0.value).text }
    }

    static func letters(_ records: [NewRecord]?) -> [DeadLetter]? {
        records?.filter { $0.topic == "penstock.deadletters" }.compactMap { try? DeadLetter(json: $0.value) }
    }
}

extension ChanceSource {
    /// Ids that count up, never twice the same in this process, and no chance.
    static func counting() -> ChanceSource {
        ChanceSource(identifier: { "id-\(count.next())" }, fraction: { 0.5 })
    }

    private static let count = Counter()

    private final class Counter: Sendable {
        private let value = Mutex(0)

        func next() -> Int {
            value.withLock { value in
                value += 1
                return value
            }
        }
    }
}
