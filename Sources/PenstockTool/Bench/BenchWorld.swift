import Adapters
import EmbeddedLog
import Glibc
import JSON
import KafkaLog
import Pipeline
import Synchronization
import Topics

/// Topics and a folder of a benchmark's own, and what runs on them.
struct BenchWorld: Sendable {
    struct Load: Sendable {
        var turns: Int
        var conversations: Int
        /// Turns at a time, for each worker.
        var inFlight: Int
        var modelWait: Duration = .zero
        var workers = 1
    }

    let run: String
    let log: MeasuredLog
    let kafka: KafkaSettings?
    let store: any ObjectStore
    let prefix: String
    let folder: String
    let time = TimeSource.system
    let chance = ChanceSource.system

    /// `store`: `memory`, `folder` or `s3` (as the settings say). `joining`: the run of another process,
    /// whose world this is. `partitions`: of each topic; nil for what the catalog says.
    init(
        _ settings: Settings,
        store name: String,
        joining other: String? = nil,
        partitions: Int32? = nil
    ) async throws {
        let run = other ?? String(chance.identifier().replacing("-", with: "").suffix(12))
        self.run = run
        prefix = "\(settings.topicPrefix)bench-\(run)."
        folder = "\(settings.data)/bench-\(run)"
        guard mkdir(settings.data, 0o700) == 0 || errno == EEXIST,
            mkdir(folder, 0o700) == 0 || other != nil && errno == EEXIST
        else {
            throw Failure("\(folder): \(String(cString: strerror(errno)))")
        }
        switch settings.log {
        case .embedded:
            kafka = nil
            log = MeasuredLog(try EmbeddedLog(folder: "\(folder)/log", time: time, chance: chance))
        case .kafka(let kafka):
            let settings = KafkaSettings(
                bootstrap: kafka.bootstrap,
                instance: "bench-\(run)",
                membership: .dynamic,
                properties: kafka.properties
            )
            self.kafka = settings
            log = MeasuredLog(try KafkaLog(settings, chance: chance))
        }
        switch name {
        case "memory": store = BenchMemoryStore()
        case "folder": store = try FolderStore(folder: "\(folder)/store")
        default: store = try Composition.store(settings, time: time, chance: chance)
        }
        try await log.prepare(Catalog.topics.map { $0.prefixed(prefix, partitions: partitions) })
    }

    func full(_ topic: Topic) -> String { prefix + topic.name }

    /// Ends everything; topics on a broker stay, under the benchmark's prefix, until somebody deletes them.
    func close() async {
        await leave()
        WorkspaceRemoval.remove(folder)
    }

    /// Ends what this process has of another's world.
    func leave() async {
        await log.close()
    }

    func stage(_ load: Load) throws -> TurnStage {
        try stage(load, on: store, model: WaitingModel(wait: load.modelWait, time: time))
    }

    func stage(_ load: Load, on store: any ObjectStore, model: any ModelProvider) throws -> TurnStage {
        let sources = SourceNaming(prefix: prefix, log: log.identity)
        let tools = AgentTools(
            skills: SkillCatalog(),
            runner: SkillRunner(sandbox: NoSandbox(), limits: .standard)
        )
        return TurnStage(
            agent: Agent(
                model: model,
                tools: tools,
                settings: AgentSettings()
            ),
            store: store,
            folders: try StoredWorkspaces(
                base: "\(folder)/workspaces-\(getpid())",
                store: store,
                limits: .standard,
                keptMax: 0,
                chance: chance
            ),
            worker: WorkerIdentity(name: "bench", version: Penstock.version),
            sources: sources,
            time: time,
            chance: chance,
            live: LiveFeed()
        )
    }

    func runner(_ stage: any RecordStage, group: String, member: String, _ load: Load) -> Runner {
        Runner(
            log: log,
            membership: GroupMembership(
                group: "\(prefix)\(group)",
                topics: [full(EventsTopic.topic)],
                member: member
            ),
            stage: stage,
            settings: Runner.Settings(
                limits: Dispatch.Limits(
                    inFlightMax: load.inFlight,
                    queuedBytesMax: Settings().queuedBytesMax
                ),
                stopWithin: .seconds(10),
                revokeWithin: .seconds(2)
            ),
            time: time
        )
    }

    /// An event of about 500 bytes of text, as `POST /v1/events` makes it.
    func event(_ number: Int, of conversation: Int) throws -> InboundEvent {
        let text = "/remember k\(number % 8) \(String(repeating: "word ", count: 95))\(number)"
        return try event(number, in: "c\(conversation)", text: text)
    }

    func event(_ number: Int, in conversation: String, text: String) throws -> InboundEvent {
        let access = EventsAccess(
            tokens: { [] },
            secrets: { [] },
            admitsAnyone: true,
            hosts: HostGuard(names: [])
        )
        let body = JSONValue.object([
            "specversion": "1.0", "id": .string("\(number)"), "source": "/bench", "type": "message.created",
            "data": [
                "conversation": ["id": .string(conversation)], "sender": ["id": "bench"],
                "message": ["text": .string(text)],
            ],
        ])
        let request = HTTPRequest(
            method: "POST",
            target: "/v1/events",
            fields: ["Content-Type": "application/cloudevents+json", "Host": "localhost"],
            body: body.json
        )
        let reception = try CloudEvents(access: access, chance: chance).receive(request, at: time.now())
        guard let event = reception.events.first else { throw Failure("the benchmark's event was not taken") }
        return event
    }

    /// Appends the events of a load, many at a time, conversations in turn.
    func produce(_ load: Load) async throws {
        let topic = full(EventsTopic.topic)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<load.turns {
                if number >= 512 { try await group.next() }
                let record = try event(number, of: number % load.conversations).record(topic: topic)
                group.addTask { try await self.append(record) }
            }
            try await group.waitForAll()
        }
    }

    /// Again when the log cannot say whether it has it, as ingress is asked to by its callers.
    private func append(_ record: NewRecord) async throws(EventLogError) {
        for attempt in 1... {
            do {
                _ = try await log.append([record])
                return
            } catch {
                guard error.kind == .unavailable, attempt < 5 else { throw error }
            }
        }
    }
}
