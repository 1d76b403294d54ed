package import YAML

/// What the settings need of the machine; tests give their own.
package struct SettingsContext: Sendable {
    /// For messages.
    package let file: String
    /// Relative paths in the file start here.
    package let folder: String
    package let environment: @Sendable (String) -> String?
    package let readFile: @Sendable (String) -> String?

    package init(
        file: String,
        folder: String,
        environment: @escaping @Sendable (String) -> String?,
        readFile: @escaping @Sendable (String) -> String?
    ) {
        self.file = file
        self.folder = folder
        self.environment = environment
        self.readFile = readFile
    }

    func path(_ text: String) -> String {
        text.hasPrefix("/") ? text : folder.isEmpty || folder == "." ? text : "\(folder)/\(text)"
    }

    func secret(_ text: String) -> Secret {
        if text.hasPrefix("env:") {
            let name = String(text.dropFirst(4))
            let environment = environment
            return Secret("env:\(name)") { () throws(SecretError) in
                guard let value = environment(name) else {
                    throw SecretError(detail: "the environment variable \(name) is not set")
                }
                return value
            }
        }
        if text.hasPrefix("file:") {
            let path = path(String(text.dropFirst(5)))
            let readFile = readFile
            return Secret("file:\(path)") { () throws(SecretError) in
                guard let value = readFile(path) else {
                    throw SecretError(detail: "the file \(path) can not be read")
                }
                return value
            }
        }
        return Secret("given") { text }
    }
}

extension Settings {
    private static let keys = [
        "data", "http", "log", "store", "model", "skills", "sandbox", "channels", "agent", "worker", "egress",
    ]

    /// From the root of a settings file; nil for an empty one.
    package init(_ root: YAMLNode?, _ context: SettingsContext) throws(SettingsError) {
        self.init()
        data = context.path(data)
        guard let root else { return }
        let reader = try SettingsReader(root, file: context.file, path: "", keys: Self.keys)
        if let data = try Self.plain("data", reader, context) { self.data = context.path(data) }
        if let skills = try reader.strings("skills") { self.skills = skills.map(context.path) }
        try takeSandbox(reader, context)
        try takeHTTP(reader)
        try takeLog(reader, context)
        try takeStore(reader, context)
        try takeModels(reader, context)
        try takeChannels(reader, context)
        try takeAgent(reader)
        try takeWorkers(reader, context)
    }

    /// Any text may be `env:NAME` or `file:PATH`; where it is no secret it is read once.
    private static func plain(
        _ key: String,
        _ reader: SettingsReader,
        _ context: SettingsContext
    ) throws(SettingsError) -> String? {
        guard let text = try reader.string(key) else { return nil }
        do throws(SecretError) {
            return try context.secret(text).value()
        } catch {
            throw reader.error(key, error.detail)
        }
    }

    private enum MissingLayers: String, CaseIterable {
        case refuse, allow
    }

    private mutating func takeSandbox(_ root: SettingsReader, _ context: SettingsContext)
        throws(SettingsError)
    {
        let keys = [
            "missing_layers", "processors", "ready", "python_ready", "ready_for", "private_networks",
            "secrets", "skills", "trusted_certificates",
        ]
        guard let reader = try root.reader("sandbox", keys: keys) else { return }
        sandbox.mayLackLayers = try reader.word("missing_layers", MissingLayers.self) == .allow
        agent.skillLimits.processors =
            try reader.number("processors", in: SandboxLimits.processorsRange)
            ?? agent.skillLimits.processors
        sandbox.poolSize = try reader.integer("ready", in: 0...64) ?? sandbox.poolSize
        sandbox.pythonPoolSize = try reader.integer("python_ready", in: 0...64) ?? sandbox.pythonPoolSize
        sandbox.poolIdle =
            try reader.duration("ready_for", in: .seconds(1)...(.seconds(86_400))) ?? sandbox.poolIdle
        sandbox.trustedCertificates = try reader.string("trusted_certificates").map { context.path($0) }
        try takeGrants(reader, context)
    }

    private mutating func takeHTTP(_ root: SettingsReader) throws(SettingsError) {
        guard let reader = try root.reader("http", keys: ["host", "port", "names", "body_max"]) else {
            return
        }
        host = try reader.string("host") ?? host
        port = UInt16(try reader.integer("port", in: 0...65_535) ?? Int(port))
        hostNames = try reader.strings("names") ?? hostNames
        bodyBytesMax = try reader.bytes("body_max", in: 1_024...(64 << 20)) ?? bodyBytesMax
    }

    private mutating func takeLog(_ root: SettingsReader, _ context: SettingsContext) throws(SettingsError) {
        guard let node = root.node("log") else { return }
        if let word = node.text {
            guard word == "embedded" else {
                throw root.error("log", "expected embedded, or kafka: with its settings")
            }
            return
        }
        guard let engines = try root.reader("log", keys: ["kafka"]),
            let reader = try engines.reader(
                "kafka",
                keys: ["bootstrap", "prefix", "membership", "properties"]
            )
        else { throw root.error("log", "expected embedded, or kafka: with its settings") }
        guard let bootstrap = try Self.plain("bootstrap", reader, context) else {
            throw reader.error("bootstrap", "is needed: the brokers, as host:port,host:port")
        }
        var kafka = Kafka(bootstrap: bootstrap)
        topicPrefix = try reader.string("prefix") ?? topicPrefix
        kafka.membership = try reader.word("membership", Kafka.Membership.self) ?? kafka.membership
        for entry in reader.node("properties")?.entries ?? [] {
            guard let key = entry.key.text, let value = entry.value.text else {
                throw reader.error("properties", "expected librdkafka's names and values")
            }
            do throws(SecretError) {
                kafka.properties[key] = try context.secret(value).value()
            } catch {
                throw reader.error("properties", "\(key): \(error.detail)")
            }
        }
        log = .kafka(kafka)
    }

    private mutating func takeStore(_ root: SettingsReader, _ context: SettingsContext) throws(SettingsError)
    {
        guard let node = root.node("store") else { return }
        if let word = node.text {
            guard word == "folder" else {
                throw root.error("store", "expected folder, or s3: with its settings")
            }
            return
        }
        guard let engines = try root.reader("store", keys: ["s3"]),
            let reader = try engines.reader(
                "s3",
                keys: ["endpoint", "bucket", "region", "prefix", "style", "connections_max"]
            )
        else { throw root.error("store", "expected folder, or s3: with its settings") }
        guard let bucket = try Self.plain("bucket", reader, context) else {
            throw reader.error("bucket", "is needed here")
        }
        guard bucket.utf8.count >= 3, bucket.utf8.allSatisfy(Self.isInBucketName) else {
            throw reader.error("bucket", "expected 3 or more of a-z, 0-9, . and -")
        }
        var s3 = S3(bucket: bucket)
        s3.endpoint = try reader.url("endpoint")
        s3.region = try Self.plain("region", reader, context) ?? s3.region
        s3.style = try reader.word("style", S3.Style.self)
        s3.connectionsMax = try reader.integer("connections_max", in: 1...512) ?? s3.connectionsMax
        if let prefix = reader.node("prefix")?.text, !prefix.isEmpty {
            let folder = prefix.hasSuffix("/") ? String(prefix.dropLast()) : prefix
            guard ObjectKey.isValid(folder), folder.utf8.count <= 100 else {
                throw reader.error("prefix", "expected at most 100 of A-Z a-z 0-9 . _ ~ - and / between them")
            }
            s3.prefix = folder + "/"
        }
        store = .s3(s3)
    }

    private static func isInBucketName(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "-"): true
        default: false
        }
    }

    private mutating func takeModels(_ root: SettingsReader, _ context: SettingsContext) throws(SettingsError)
    {
        guard let node = root.node("model") else { return }
        let nodes = node.elements ?? [node]
        guard !nodes.isEmpty else { throw root.error("model", "expected at least one model") }
        var models: [Model] = []
        for node in nodes { models.append(try Self.model(node, root, context)) }
        self.models = models
    }

    private static func model(
        _ node: YAMLNode,
        _ root: SettingsReader,
        _ context: SettingsContext
    ) throws(SettingsError) -> Model {
        let allowed = "expected offline, openai: or anthropic: with base_url and model, or a list of these"
        if let word = node.text {
            guard word == "offline" else { throw root.error("model", allowed) }
            return .offline
        }
        guard node.entries?.count == 1 else { throw root.error("model", allowed) }
        let reader = try SettingsReader(node, file: root.file, path: "model", keys: ["openai", "anthropic"])
        let keys = ["base_url", "model", "api_key"]
        if let openAI = try reader.reader("openai", keys: keys) {
            return .openAI(try remote(openAI, "https://api.openai.com/v1", "OPENAI_API_KEY", context))
        }
        guard let anthropic = try reader.reader("anthropic", keys: keys) else {
            throw root.error("model", allowed)
        }
        return .anthropic(try remote(anthropic, "https://api.anthropic.com", "ANTHROPIC_API_KEY", context))
    }

    private static func remote(
        _ reader: SettingsReader,
        _ base: String,
        _ variable: String,
        _ context: SettingsContext
    ) throws(SettingsError) -> RemoteModel {
        RemoteModel(
            baseURL: try reader.url("base_url") ?? base,
            model: try reader.required("model"),
            key: context.secret(try reader.string("api_key") ?? "env:\(variable)")
        )
    }
}

// Channels, the agent and the workers.
extension Settings {
    private mutating func takeChannels(_ root: SettingsReader, _ context: SettingsContext)
        throws(SettingsError)
    {
        guard let reader = try root.reader("channels", keys: ["slack", "whatsapp", "email", "events", "web"])
        else { return }
        if let slack = try reader.reader("slack", keys: ["signing_secret", "bot_token", "api_base"]) {
            var settings = Slack(
                signingSecret: context.secret(
                    try slack.string("signing_secret") ?? "env:SLACK_SIGNING_SECRET"
                ),
                botToken: context.secret(try slack.string("bot_token") ?? "env:SLACK_BOT_TOKEN")
            )
            settings.apiBase = try slack.url("api_base") ?? settings.apiBase
            self.slack = settings
        }
        if let whatsApp = try reader.reader(
            "whatsapp",
            keys: ["app_secret", "verify_token", "access_token", "api_base"]
        ) {
            var settings = WhatsApp(
                appSecret: context.secret(try whatsApp.string("app_secret") ?? "env:WHATSAPP_APP_SECRET"),
                verifyToken: context.secret(
                    try whatsApp.string("verify_token") ?? "env:WHATSAPP_VERIFY_TOKEN"
                ),
                accessToken: context.secret(
                    try whatsApp.string("access_token") ?? "env:WHATSAPP_ACCESS_TOKEN"
                )
            )
            settings.apiBase = try whatsApp.url("api_base") ?? settings.apiBase
            self.whatsApp = settings
        }
        if reader.node("email") != nil {
            throw reader.error("email", "this version has no email channel yet: take the key out")
        }
        if let events = try reader.reader("events", keys: ["token", "signing_secret"]) {
            self.events.token = try events.string("token").map(context.secret)
            self.events.signingSecret = try events.string("signing_secret").map(context.secret)
        }
        webChat = try reader.bool("web") ?? webChat
    }

    private mutating func takeAgent(_ root: SettingsReader) throws(SettingsError) {
        let keys = [
            "name", "instructions", "answer", "rounds_max", "output_tokens_max", "turn_deadline",
            "attempts_max", "apology",
        ]
        guard let reader = try root.reader("agent", keys: keys) else { return }
        agent.name = try reader.string("name") ?? agent.name
        agent.instructions = try reader.string("instructions") ?? agent.instructions
        agent.answering = try reader.word("answer", AgentSettings.Answering.self) ?? agent.answering
        agent.roundsMax = try reader.integer("rounds_max", in: 1...100) ?? agent.roundsMax
        agent.outputTokensMax =
            try reader.integer("output_tokens_max", in: 1...1_000_000) ?? agent.outputTokensMax
        agent.turnDeadline =
            try reader.duration("turn_deadline", in: .seconds(1)...(.seconds(3_600))) ?? agent.turnDeadline
        agent.attemptsMax = try reader.integer("attempts_max", in: 1...20) ?? agent.attemptsMax
        if let apology = reader.node("apology")?.text { agent.apology = apology }
    }

    /// What Kafka takes for a member's name.
    private static func isName(_ text: String) -> Bool {
        text.utf8.count <= 100
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    private mutating func takeWorkers(_ root: SettingsReader, _ context: SettingsContext)
        throws(SettingsError)
    {
        if let reader = try root.reader("worker", keys: ["turns_max", "queued_max", "stop_within", "member"])
        {
            turnsMax = try reader.integer("turns_max", in: 1...100_000) ?? turnsMax
            queuedBytesMax = try reader.bytes("queued_max", in: (1 << 20)...(8 << 30)) ?? queuedBytesMax
            stopWithin = try reader.duration("stop_within", in: .seconds(1)...(.seconds(3_600))) ?? stopWithin
            member = try Self.plain("member", reader, context)
            if let member, !Self.isName(member) {
                throw reader.error("member", "expected at most 100 of A-Z a-z 0-9 . _ -")
            }
        }
        if let reader = try root.reader("egress", keys: ["attempts_max", "when_unsure"]) {
            deliveryAttemptsMax = try reader.integer("attempts_max", in: 1...100) ?? deliveryAttemptsMax
            if let word = try reader.string("when_unsure") {
                guard ["resend", "leave"].contains(word) else {
                    throw reader.error("when_unsure", "expected resend or leave")
                }
                resendsWhenUnsure = word == "resend"
            }
        }
    }
}
