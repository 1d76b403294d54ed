import Adapters
import Crypto
import EmbeddedLog
import Foundation
import JSON
import KafkaLog
import Pipeline
import Topics

/// A data folder, the platforms around it, and what is needed to speak with a pipeline that runs on them.
final class World: @unchecked Sendable {
    static let signingSecret = "8f742231b10e8888abcd99yyyzzz85a5"
    static let appSecret = "app-secret"
    static let token = "platform-token"
    static let bait = "bait-of-the-worker"

    /// Where the log is.
    enum Log: Sendable {
        case embedded
        case kafka(bootstrap: String, prefix: String)

        fileprivate var setting: String {
            switch self {
            case .embedded: "embedded"
            case .kafka(let bootstrap, let prefix):
                "{ kafka: { bootstrap: \"\(bootstrap)\", prefix: \"\(prefix)\" } }"
            }
        }
    }

    let folder: String
    let platforms: FakePlatforms
    private let log: Log

    /// `skills`: folders of skills; the examples when left out.
    init(
        skills: [String] = [World.exampleSkills],
        attemptsMax: Int = 5,
        log: Log = .embedded
    ) throws {
        self.log = log
        var template = Array("/tmp/penstock-e2e-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw HarnessError("no temporary folder") }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        platforms = try FakePlatforms()
        let base = "http://127.0.0.1:\(platforms.port)"
        let settings = """
            data: ./data
            log: \(log.setting)
            http: { host: 127.0.0.1, port: 0, body_max: 65536 }
            agent: { attempts_max: \(attemptsMax) }
            skills: [\(skills.map { "\"\($0)\"" }.joined(separator: ", "))]
            channels:
              slack: { api_base: "\(base)/api" }
              whatsapp: { api_base: "\(base)/graph", app_secret: "\(Self.appSecret)", verify_token: verify-me }
            """
        try settings.write(toFile: "\(folder)/penstock.yaml", atomically: false, encoding: .utf8)
    }

    deinit {
        platforms.stop()
        // What stays behind is in /tmp.
        try? FileManager.default.removeItem(atPath: folder)
    }

    static let exampleSkills = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../ops/skills").standardizedFileURL.path

    func start() async throws -> PenstockProcess {
        try await blocking { [self] in
            let process = try spawn()
            try process.waitUntilReady()
            return process
        }
    }

    func spawn(_ role: String = "run") throws -> PenstockProcess {
        try PenstockProcess(
            role,
            folder: folder,
            environment: [
                "PATH": "/usr/bin:/bin", "SLACK_SIGNING_SECRET": Self.signingSecret,
                "SLACK_BOT_TOKEN": Self.token,
                "WHATSAPP_ACCESS_TOKEN": Self.token, "WORKER_SECRET": Self.bait,
            ]
        )
    }
}

// What platforms send.
extension World {
    static func slackMessage(
        _ text: String,
        channel: String,
        ts: String,
        _ more: [String: JSONValue] = [:]
    ) -> [UInt8] {
        var event: [String: JSONValue] = [
            "type": "message", "channel": .string(channel), "user": "U1", "text": .string(text),
            "ts": .string(ts),
            "event_ts": .string(ts), "channel_type": channel.hasPrefix("D") ? "im" : "channel",
        ]
        event.merge(more) { $1 }
        return JSONValue.object([
            "type": "event_callback", "team_id": "T1", "api_app_id": "A1",
            "event_id": .string("Ev\(channel)\(ts)"),
            "event_time": .integer(Int64(Date().timeIntervalSince1970)), "event": .object(event),
            "authorizations": [["team_id": "T1", "enterprise_id": nil, "user_id": "UBOT", "is_bot": true]],
        ]).json
    }

    static func slackFields(
        _ body: [UInt8],
        secret: String = signingSecret,
        age: TimeInterval = 0
    ) -> [String: String] {
        let seconds = "\(Int(Date().timeIntervalSince1970 - age))"
        let code = HMAC.sha256(key: Array(secret.utf8), Array("v0:\(seconds):".utf8), body)
        return [
            "Content-Type": "application/json", "X-Slack-Request-Timestamp": seconds,
            "X-Slack-Signature": "v0=" + Hex.encode(code),
        ]
    }

    @discardableResult
    static func sendSlack(_ body: [UInt8], to port: UInt16) throws -> Wire.Message {
        try Wire.send(port, "POST", "/v1/slack/events", slackFields(body), body)
    }

    static func whatsAppFields(_ body: [UInt8], secret: String = appSecret) -> [String: String] {
        [
            "Content-Type": "application/json",
            "X-Hub-Signature-256": "sha256=" + Hex.encode(HMAC.sha256(key: Array(secret.utf8), body)),
        ]
    }

    /// `entries` × `changes` × `messages` of a batch, each its own sender and id.
    static func whatsAppBatch(_ entries: Int, _ changes: Int, _ messages: Int) -> [UInt8] {
        let all = (0..<entries).map { entry -> JSONValue in
            let changes = (0..<changes).map { change -> JSONValue in
                let messages = (0..<messages).map { message -> JSONValue in
                    let id = "\(entry)\(change)\(message)"
                    return [
                        "from": .string("4917\(id)"), "id": .string("wamid.\(id)"), "timestamp": "1700000000",
                        "type": "text", "text": ["body": .string("/remember id \(id)")],
                    ]
                }
                return [
                    "field": "messages",
                    "value": [
                        "messaging_product": "whatsapp", "messages": .array(messages),
                        "metadata": ["display_phone_number": "+1 555 0100", "phone_number_id": "1001"],
                    ],
                ]
            }
            return ["id": .string("WABA\(entry)"), "changes": .array(changes)]
        }
        return JSONValue.object(["object": "whatsapp_business_account", "entry": .array(all)]).json
    }

    static func cloudEvent(_ text: String, id: String, conversation: String) -> [UInt8] {
        let event: JSONValue = [
            "specversion": "1.0", "id": .string(id), "source": "/e2e", "type": "message.created",
            "data": [
                "conversation": ["id": .string(conversation)], "sender": ["id": "bob"],
                "message": ["text": .string(text)],
            ],
        ]
        return event.json
    }
}

// What is on the log and in the store, read without the pipeline's help.
extension World {
    var store: TurnStore { get throws { TurnStore(try FolderStore(folder: "\(folder)/data/store")) } }

    func records(_ topic: Topic) async throws -> [LogRecord] {
        let log = try reader()
        let name = "\(prefix)\(topic.name)"
        var records: [LogRecord] = []
        for (partition, bounds) in try await log.bounds(of: name).enumerated() {
            var offset = bounds.first
            while offset < bounds.next {
                let page = try await log.read(
                    TopicPartition(name, Int32(partition)),
                    from: offset,
                    recordsMax: 1_000,
                    wait: .zero
                )
                records += page.records
                guard page.next > offset else { break }
                offset = page.next
            }
        }
        await log.close()
        return records
    }

    private var prefix: String {
        guard case .kafka(_, let prefix) = log else { return "penstock." }
        return prefix
    }

    func name(of topic: Topic) -> String { prefix + topic.name }

    private func reader() throws -> any EventLog {
        switch log {
        case .embedded: try EmbeddedLog(folder: "\(folder)/data/log", time: .system, chance: .system)
        case .kafka(let bootstrap, _):
            try KafkaLog(KafkaSettings(bootstrap: bootstrap, instance: "reader"), chance: .system)
        }
    }

    func events() async throws -> [InboundEvent] {
        try await records(EventsTopic.topic).map { try InboundEvent($0) }
    }

    func turns() async throws -> [TurnRecord] {
        try await records(TurnsTopic.topic).map { try TurnRecord(json: $0.value) }
    }

    func replies() async throws -> [Reply] {
        try await records(RepliesTopic.topic).map { try Reply(json: $0.value) }
    }

    func receipts() async throws -> [Receipt] {
        try await records(ReceiptsTopic.topic).map { try Receipt(json: $0.value) }
    }

    func deadLetters() async throws -> [DeadLetter] {
        try await records(DeadLettersTopic.topic).map { try DeadLetter(json: $0.value) }
    }
}
