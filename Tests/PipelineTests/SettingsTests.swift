import Foundation
import Pipeline
import Testing
import YAML

@Suite("Settings")
struct SettingsTests {
    private func read(_ text: String, environment: [String: String] = [:], files: [String: String] = [:])
        throws -> Settings
    {
        let context = SettingsContext(
            file: "penstock.yaml",
            folder: "/etc/penstock",
            environment: { environment[$0] },
            readFile: { files[$0] }
        )
        return try Settings(try YAML.parse(Array(text.utf8), .strict), context)
    }

    @Test("Kafka's properties may be secrets, read once; what is no member's name is refused")
    func kafka() throws {
        let text = """
            log: { kafka: { bootstrap: "a:1,b:2", prefix: "acme.", membership: dynamic,
                            properties: { sasl.password: env:PASSWORD } } }
            worker: { member: env:POD }
            """

        let settings = try read(text, environment: ["PASSWORD": "p", "POD": "pod-3"])
        let missing = #expect(throws: SettingsError.self) { try read(text, environment: ["POD": "pod-3"]) }
        let badName = #expect(throws: SettingsError.self) { try read("worker: { member: 'a b' }") }

        guard case .kafka(let kafka) = settings.log else {
            Issue.record("\(settings.log)")
            return
        }
        #expect(kafka.bootstrap == "a:1,b:2" && kafka.membership == .dynamic)
        #expect(kafka.properties == ["sasl.password": "p"])
        #expect(settings.topicPrefix == "acme." && settings.member == "pod-3")
        #expect(missing?.description.contains("sasl.password") == true)
        #expect(badName?.description.contains("worker.member") == true)
    }

    @Test("without a file the defaults are one process in one folder, without a model")
    func defaults() throws {
        let settings = try read("")

        #expect(
            settings.data == "/etc/penstock/./penstock-data" && settings.port == 8_080 && settings.isLoopback
        )
        #expect(settings.log == .embedded && settings.store == .folder && settings.slack == nil)
    }

    @Test("a run's share of the processors is a number of them, and no nonsense")
    func processors() throws {
        let settings = try read("sandbox: { processors: 0.5 }")
        let refused = ["0", "-1", "nan", "2000", "many"].map { text in
            #expect(throws: SettingsError.self) { try read("sandbox: { processors: \(text) }") }
        }

        #expect(settings.agent.skillLimits.processors == 0.5)
        #expect(refused.allSatisfy { $0?.description.contains("sandbox.processors") == true })
    }

    @Test("the example names every key and is accepted")
    func example() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let path = root.appending(path: "ops/examples/penstock.yaml")
        let text = String(decoding: try Data(contentsOf: path), as: UTF8.self)

        let settings = try read(text, environment: ["SLACK_SIGNING_SECRET": "s"])

        #expect(try settings.slack?.signingSecret.value() == "s")
        #expect(settings.agent == AgentSettings(like: settings.agent))
        #expect(
            settings.turnsMax == Settings().turnsMax
                && settings.deliveryAttemptsMax == Settings().deliveryAttemptsMax
        )
    }

    @Test("the contract's engines and models are understood")
    func engines() throws {
        let settings = try read(
            """
            log: { kafka: { bootstrap: "127.0.0.1:9092", prefix: "p.", properties: { security.protocol: SSL } } }
            store: { s3: { endpoint: "http://127.0.0.1:8333", bucket: penstock, region: us-east-1, prefix: "" } }
            model:
              - openai: { base_url: "http://127.0.0.1:1/v1/", model: m }
              - offline
            """
        )

        #expect(settings.topicPrefix == "p.")
        guard case .kafka(let kafka) = settings.log, case .s3(let store) = settings.store else {
            Issue.record("log \(settings.log), store \(settings.store)")
            return
        }
        #expect(kafka.bootstrap == "127.0.0.1:9092" && kafka.properties == ["security.protocol": "SSL"])
        #expect(store.endpoint == "http://127.0.0.1:8333" && store.bucket == "penstock")
        #expect(store.prefix == "" && store.style == nil && store.connectionsMax == 64)
        #expect(settings.models.count == 2)
    }

    @Test(
        "what is wrong is said with file, line, key and what is allowed",
        arguments: [
            ("data: d\nhtpp: {}", "penstock.yaml:2: htpp: unknown key; did you mean http?"),
            ("http: { port: 70000 }", "penstock.yaml:1: http.port: expected a whole number from 0 to 65535"),
            ("agent:\n  turn_deadline: soon", "penstock.yaml:2: agent.turn_deadline: expected a duration"),
            ("log: cassandra", "penstock.yaml:1: log: expected embedded, or kafka:"),
            ("model: { openai: { } }", "openai.model: is needed here"),
            ("channels: { slack: { api_base: slack.com } }", "channels.slack.api_base: expected an address"),
            ("store: { s3: { region: r } }", "store.s3.bucket: is needed here"),
            ("store: { s3: { bucket: A_B } }", "store.s3.bucket: expected 3 or more of a-z"),
            ("store: { s3: { bucket: abc, style: dns } }", "store.s3.style: expected one of path, host"),
            ("store: { s3: { bucket: abc, prefix: ../x } }", "store.s3.prefix: expected at most 100"),
            ("agent: { answer: sometimes }", "agent.answer: expected one of all, addressed"),
            ("data: env:NOT_SET", "data: the environment variable NOT_SET is not set"),
            (
                "channels: { email: { listen: \"127.0.0.1:2525\" } }",
                "channels.email: this version has no email"
            ),
            ("- a", "expected keys and values"),
        ]
    )
    func faults(text: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try read(text) }

        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test("a secret is read on every use, and never shown")
    func secrets() throws {
        let settings = try read(
            "channels: { slack: { signing_secret: \"file:key\", bot_token: xoxb-given } }",
            files: ["/etc/penstock/key": " s3cret\n"]
        )

        #expect(try settings.slack?.signingSecret.value() == "s3cret")
        #expect("\(String(describing: settings))".contains("s3cret") == false)
        #expect(try settings.slack?.botToken.value() == "xoxb-given")
        #expect("\(String(describing: settings.slack))".contains("xoxb-given") == false)
    }
}

extension AgentSettings {
    /// The defaults, but for the words, which the example may choose.
    fileprivate init(like other: AgentSettings) {
        self.init()
        instructions = other.instructions
    }
}
