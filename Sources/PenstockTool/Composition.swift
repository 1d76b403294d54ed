import Adapters
import Crypto
import Edge
import EmbeddedLog
import Glibc
import LinuxSandbox
import Pipeline
import Topics

/// The one place that wires names to objects.
struct Composition: Sendable {
    let settings: Settings
    let log: any EventLog
    let store: any ObjectStore
    let sources: SourceNaming
    let identity: WorkerIdentity
    let time = TimeSource.system
    let chance = ChanceSource.system
    let live = LiveFeed()
    let faults: FaultPoints

    init(_ settings: Settings) async throws {
        self.settings = settings
        faults = try FaultArming.points()
        guard mkdir(settings.data, 0o700) == 0 || errno == EEXIST else {
            throw Failure("the data folder \(settings.data): \(String(cString: strerror(errno)))")
        }
        switch settings.log {
        case .embedded:
            log = try EmbeddedLog(folder: "\(settings.data)/log", time: time, chance: chance, faults: faults)
        case .kafka: throw UsageError("log: kafka: this version has the embedded log only; set log: embedded")
        }
        store = try FaultArming.store(Self.store(settings, time: time, chance: chance))
        sources = SourceNaming(prefix: settings.topicPrefix, log: log.identity)
        identity = WorkerIdentity(name: "\(Self.hostName)-\(getpid())", version: Penstock.version)
        try await log.prepare(Catalog.topics.map { $0.prefixed(settings.topicPrefix) })
    }

    private static var hostName: String {
        var name = [CChar](repeating: 0, count: 65)
        gethostname(&name, name.count - 1)
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func full(_ topic: Topic) -> String { settings.topicPrefix + topic.name }
}

// Channels.
extension Composition {
    var hosts: HostGuard { HostGuard(names: settings.hostNames) }

    var hasWebChat: Bool { settings.webChat ?? settings.isLoopback }

    var access: EventsAccess {
        EventsAccess(
            tokens: Self.source(settings.events.token),
            secrets: Self.source(settings.events.signingSecret),
            admitsAnyone: settings.isLoopback,
            hosts: hosts
        )
    }

    var adapters: [any ChannelAdapter] {
        var adapters: [any ChannelAdapter] = [CloudEvents(access: access, chance: chance)]
        if hasWebChat { adapters.append(WebChat(hosts: hosts, chance: chance)) }
        if let slack = settings.slack {
            adapters.append(
                Slack(
                    settings: Slack.Settings(
                        apiBase: slack.apiBase,
                        signingSecrets: Self.source(slack.signingSecret),
                        botTokens: Self.source(slack.botToken)
                    ),
                    chance: chance
                )
            )
        }
        if let whatsApp = settings.whatsApp {
            adapters.append(
                WhatsApp(
                    settings: WhatsApp.Settings(
                        apiBase: whatsApp.apiBase,
                        appSecrets: Self.source(whatsApp.appSecret),
                        verifyTokens: Self.source(whatsApp.verifyToken),
                        accessTokens: Self.source(whatsApp.accessToken)
                    ),
                    chance: chance
                )
            )
        }
        return adapters
    }

    /// Several secrets are separated by white space, for the time of a rotation.
    private static func source(_ secret: Secret?) -> SecretSource {
        { try secret?.value().split(whereSeparator: \.isWhitespace).map(String.init) ?? [] }
    }
}

// Stages and their runners.
extension Composition {
    func skills() -> SkillCatalog { SkillLoader.load(settings.skills) }

    func worker(_ skills: SkillCatalog) throws -> Runner {
        let tools = AgentTools(
            skills: skills,
            runner: SkillRunner(
                sandbox: try LinuxSandbox(settings.sandbox.linux),
                limits: settings.agent.skillLimits
            )
        )
        let stage = TurnStage(
            agent: Agent(model: try Self.model(settings), tools: tools, settings: settings.agent),
            store: store,
            folders: try StoredWorkspaces(
                base: "\(settings.data)/workspaces-\(getpid())",
                store: store,
                limits: .standard,
                keptMax: 256,
                chance: chance
            ),
            worker: identity,
            sources: sources,
            time: time,
            chance: chance,
            live: live,
            faults: faults
        )
        return runner("penstock-workers", EventsTopic.topic, stage)
    }

    func egress() -> Runner {
        let stage = DeliverStage(
            adapters: adapters,
            transport: CurlTransport(transfersMax: 64, shards: 1, userAgent: "penstock/\(Penstock.version)"),
            store: store,
            settings: DeliverStage.Settings(
                attemptsMax: settings.deliveryAttemptsMax,
                patience: .seconds(3_600),
                resendsWhenUnsure: settings.resendsWhenUnsure
            ),
            sources: sources,
            worker: identity,
            time: time,
            chance: chance
        )
        return runner("penstock-egress", RepliesTopic.topic, stage)
    }

    private func runner(_ group: String, _ topic: Topic, _ stage: any RecordStage) -> Runner {
        Runner(
            log: log,
            membership: GroupMembership(group: group, topics: [full(topic)], member: identity.name),
            stage: stage,
            settings: Runner.Settings(
                limits: Dispatch.Limits(
                    inFlightMax: settings.turnsMax,
                    queuedBytesMax: settings.queuedBytesMax
                ),
                stopWithin: settings.stopWithin,
                revokeWithin: .seconds(2)
            ),
            time: time,
            faults: faults
        )
    }
}
