import Adapters
import EmbeddedLog
import Foundation
import JSON
import Pipeline
import PipelineTesting
import Synchronization
import Testing
import Topics

/// Turns on the embedded log in a folder of its own, with skills that write files.
///
/// The agent answers `write NAME TEXT`, `drop NAME`, `fail` and anything else.
final class ReplayWorld: Sendable {
    let folder: String
    let log: any EventLog
    let store: any ObjectStore
    let clock = TestClock.hasty()
    let stage: TurnStage
    /// Whether what turns emit is put on the log.
    private let isLogged: Bool
    private let offsets = Mutex<[String: Int64]>([:])
    private let pending = Mutex<[NewRecord]>([])
    private let assignment = Assignment(
        partition: TopicPartition("penstock.events", 0),
        progress: Progress(low: 0),
        freshFrom: 0
    )

    static let recovering: @Sendable (any EventLog, any ObjectStore) -> ConversationRecovery = { log, store in
        ConversationRecovery(log: log, topicPrefix: "penstock.", store: store)
    }

    /// `after`: a world whose log and store go on here, with a worker that has nothing at hand.
    init(
        _ store: any ObjectStore = MemoryStore(),
        after other: ReplayWorld? = nil,
        window: TranscriptWindow = TranscriptWindow(entriesMax: 8, bytesMax: 65_536),
        isLogged: Bool = true
    ) async throws {
        self.isLogged = isLogged
        folder =
            FileManager.default.temporaryDirectory.appending(path: "penstock-replay-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        if let other {
            log = other.log
            offsets.withLock { $0 = other.offsets.withLock { $0 } }
        } else {
            log = try EmbeddedLog(folder: "\(folder)/log", time: clock.source, chance: .system)
            try await log.prepare(Catalog.topics.map { $0.prefixed("penstock.") })
        }
        self.store = store
        let recovery = Self.recovering(log, store)
        stage = TurnStage(
            agent: try Self.agent(folder, window),
            store: store,
            folders: try StoredWorkspaces(
                base: "\(folder)/workspaces",
                store: store,
                limits: .standard,
                keptMax: 16,
                chance: .system
            ),
            worker: WorkerIdentity(name: "worker", version: "test"),
            sources: SourceNaming(prefix: "penstock.", log: log.identity),
            time: clock.source,
            chance: .system,
            live: LiveFeed(),
            restore: { conversation throws(TurnFailure) in try await recovery.restore(conversation) }
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private static func agent(_ folder: String, _ window: TranscriptWindow) throws -> Agent {
        let skill = "\(folder)/skills/files"
        try FileManager.default.createDirectory(
            atPath: "\(skill)/scripts",
            withIntermediateDirectories: true
        )
        try "---\nname: files\ndescription: Keeps files.\n---\n".write(
            toFile: "\(skill)/SKILL.md",
            atomically: false,
            encoding: .utf8
        )
        try "#!/bin/sh\n".write(toFile: "\(skill)/scripts/run.sh", atomically: false, encoding: .utf8)
        chmod("\(skill)/scripts/run.sh", 0o755)
        let sandbox = FakeSandbox([
            "run.sh": { run, emit in
                guard let folder = run.workspace, run.command.count > 2 else { return .exited(2) }
                let path = "\(folder)/\(run.command[2])"
                if run.command[1] == "drop" {
                    unlink(path)
                } else {
                    let count = Int(run.command[3]) ?? 0
                    let text = count > 0 ? ReplayWorld.noise(count) : run.command[3]
                    // What went wrong shows in the files.
                    try? text.write(toFile: path, atomically: false, encoding: .utf8)
                }
                emit(.standardOutput, "done")
                return .exited(0)
            }
        ])
        let model = ScriptedModel { request, _ throws(ModelError) in
            let last = request.messages.last
            guard let text = last?.text, last?.role != .tool else { return ScriptedModel.say("did it") }
            if text == "fail" { throw ModelError(.permanent, "as asked") }
            guard text.hasPrefix("write ") || text.hasPrefix("drop ") else {
                // A long one back to front, so that it compresses as other text would.
                return ScriptedModel.say(text.utf8.count > 1_000 ? String(text.reversed()) : "echo \(text)")
            }
            let arguments: JSONValue = ["skill": "files", "arguments": .string(text)]
            return ScriptedModel.call(
                "run_skill",
                ModelToolCall(id: "1", name: "run_skill", arguments: arguments)
            )
        }
        var settings = AgentSettings()
        settings.transcript = window
        let tools = AgentTools(
            skills: SkillLoader.load(["\(folder)/skills"]),
            runner: SkillRunner(sandbox: sandbox, limits: .standard)
        )
        return Agent(model: model, tools: tools, settings: settings)
    }

    /// Text that does not compress to little.
    static func noise(_ count: Int) -> String {
        var chance = UInt64(count) &* 2_654_435_761
        return String(
            decoding: (0..<count).map { _ in
                chance = chance &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return 0x21 + UInt8(truncatingIfNeeded: chance >> 40) % 94
            } as [UInt8],
            as: UTF8.self
        )
    }

    static func id(_ name: String) -> String { "webhook:a:\(name)" }
    static func keys(_ name: String) -> ConversationKeys { ConversationKeys(id(name)) }

    /// Takes the turn; what it emits is on the log after `flush`. Nil when the turn was not taken.
    @discardableResult
    func say(_ text: String, in name: String) async throws -> [NewRecord]? {
        let offset = offsets.withLock { offsets in
            offsets[name, default: -1] += 1
            return offsets[name] ?? 0
        }
        clock.advance(by: .seconds(1))
        let event = event(text, name, offset)
        let new = event.record(topic: "penstock.events")
        let record = LogRecord(
            position: RecordPosition(TopicPartition("penstock.events", 0), offset),
            time: event.recordedtime,
            key: new.key,
            headers: new.headers,
            value: new.value
        )
        let outputs = await stage.handle(record, in: assignment)
        guard isLogged else { return outputs }
        let count = pending.withLock { pending in
            pending += outputs ?? []
            return pending.count
        }
        if count > 500 { try await flush() }
        return outputs
    }

    func flush() async throws {
        let records = pending.withLock { pending in
            defer { pending = [] }
            return pending
        }
        if !records.isEmpty { _ = try await log.append(records) }
    }

    private func event(_ text: String, _ name: String, _ offset: Int64) -> InboundEvent {
        var data = EventData()
        data.platform = "webhook"
        data.account = EventAccount(id: "a")
        data.conversation = EventConversation(id: name, kind: .direct)
        data.sender = EventSender(id: "bob", kind: .human)
        data.reply = EventReply(handle: name)
        var message = EventMessage()
        message.id = "\(offset)"
        message.text = text
        data.message = message
        return InboundEvent(
            id: "event-\(name)-\(offset)",
            type: .messageCreated,
            time: clock.now,
            recordedtime: clock.now,
            dedupekey: "dedupe-\(name)-\(offset)",
            data: data
        )
    }

    func newest(_ name: String) async throws -> Slot {
        try #require(try await TurnStore(store).newest(Self.keys(name)))
    }

    /// The files after a turn, read cold, whole or not at all.
    func files(_ slot: Slot) async throws -> [String: Int] {
        guard let hash = slot.state.workspace else { return [:] }
        let turns = TurnStore(store)
        var files: [String: Int] = [:]
        for entry in try WorkspaceTree(json: try await turns.blob(hash)).entries {
            guard case .file(_, _, let blob) = entry.node else { continue }
            files[String(decoding: entry.path, as: UTF8.self)] = try await turns.blob(blob).count
        }
        return files
    }
}

extension MemoryStore {
    /// Every object below the prefixes.
    func copy(_ kinds: [String]) async throws -> [String: [UInt8]] {
        var copy: [String: [UInt8]] = [:]
        for key in keys
        where kinds.contains(where: { $0.hasPrefix("/") ? key.contains($0) : key.hasPrefix($0) }) {
            copy[key] = try await get(key)?.body
        }
        return copy
    }

    func wipe() async throws {
        for key in keys { try await delete(key) }
    }

    func damage(_ key: String) async throws {
        var body = try #require(try await get(key)?.body)
        body[body.count / 2] ^= 0x20
        _ = try await put(key, body, if: .always)
    }
}
