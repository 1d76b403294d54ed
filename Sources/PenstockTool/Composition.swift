import Adapters
import Crypto
import Edge
import EmbeddedLog
import Glibc
import KafkaLog
import LinuxSandbox
import Pipeline
import Telemetry
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

    private let place: MemberPlace?

    /// `role`: of a process that serves; it gets a name of its own that outlives it, and waits for a log that
    /// does not answer yet, until `isStopping` says otherwise.
    init(
        _ settings: Settings,
        role: String? = nil,
        isStopping: @Sendable () -> Bool = { true }
    ) async throws {
        self.settings = settings
        faults = try FaultArming.points()
        guard mkdir(settings.data, 0o700) == 0 || errno == EEXIST else {
            throw Failure("the data folder \(settings.data): \(String(cString: strerror(errno)))")
        }
        place = try role.map { try MemberPlace(settings, role: $0) }
        let name = place?.name ?? "\(MemberPlace.hostName)-tool-\(getpid())"
        identity = WorkerIdentity(name: name, version: Penstock.version)
        switch settings.log {
        case .embedded:
            log = try EmbeddedLog(folder: "\(settings.data)/log", time: time, chance: chance, faults: faults)
        case .kafka(let kafka):
            log = try KafkaLog(KafkaSettings(kafka, instance: name), chance: chance, faults: faults)
        }
        store = try FaultArming.store(Self.store(settings, time: time, chance: chance))
        let topics = Catalog.topics.map { $0.prefixed(settings.topicPrefix) }
        try await Patience.wait(time, isStopping) { [log] in try await log.prepare(topics) }
        sources = SourceNaming(prefix: settings.topicPrefix, log: log.identity)
    }

    /// The consumer group of that name. Two installations on one Kafka differ in their prefixes.
    func group(_ name: String) -> String {
        let prefix =
            settings.topicPrefix.hasSuffix(".") ? settings.topicPrefix.dropLast() : settings.topicPrefix[...]
        return prefix.isEmpty ? "penstock-\(name)" : "\(prefix)-\(name)"
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
    func skills() -> SkillCatalog { SkillLoader.load(settings.skills, host: settings.skillHost) }

    func worker(_ skills: SkillCatalog) throws -> Runner {
        let tools = AgentTools(
            skills: skills,
            runner: SkillRunner(
                sandbox: try LinuxSandbox(settings.sandbox.linux),
                limits: settings.agent.skillLimits,
                grants: settings.sandbox.grants
            )
        )
        let recovery = ConversationRecovery(log: log, topicPrefix: settings.topicPrefix, store: store)
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
            faults: faults,
            restore: { conversation throws(TurnFailure) in try await recovery.restore(conversation) }
        )
        return runner(group("workers"), EventsTopic.topic, stage)
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
        return runner(group("egress"), RepliesTopic.topic, stage)
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
