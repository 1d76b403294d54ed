import JSON
import Pipeline
import PipelineTesting
import Testing
import YAML

@Suite("What the settings grant a skill")
struct SkillGrantTests {
    private func read(_ text: String, environment: [String: String] = [:]) throws -> Settings {
        let context = SettingsContext(
            file: "penstock.yaml",
            folder: "",
            environment: { environment[$0] },
            readFile: { _ in nil }
        )
        return try Settings(try YAML.parse(Array(text.utf8), .strict), context)
    }

    private static let text = """
        sandbox:
          private_networks: [10.1.0.0/16]
          secrets:
            KEY: { value: env:KEY, hosts: [api.test] }
            TOKEN: { value: env:TOKEN }
            WRAPPED: { value: env:KEY, hosts: [api.test], intercept_tls: true }
          skills:
            weather: { hosts: [api.test, "*.maps.test:8443"], secrets: [KEY], response_max: 1MiB }
            sender: { descriptor_secrets: [TOKEN] }
            wrapper: { hosts: [api.test], secrets: [KEY, WRAPPED] }
        """

    @Test("hosts, secrets and limits, by the skill's name")
    func understands() throws {
        let settings = try read(Self.text)

        let weather = try #require(settings.sandbox.grants["weather"])
        #expect(weather.hosts.map(\.description) == ["api.test", "*.maps.test:8443"])
        #expect(weather.secrets.map(\.name) == ["KEY"] && weather.responseBytesMax == 1 << 20)
        #expect(weather.privateNetworks.map(\.description) == ["10.1.0.0/16"])
        #expect(settings.sandbox.grants["sender"]?.descriptorSecrets.map(\.name) == ["TOKEN"])
        let granted = ["weather": ["KEY"], "sender": ["TOKEN"], "wrapper": ["KEY", "WRAPPED"] as Set]
        #expect(settings.skillHost.granted == granted)
        #expect(settings.sandbox.grants["wrapper"]?.secrets.map(\.interceptsTLS) == [false, true])
    }

    static let wrong: [(text: String, says: String)] = [
        ("sandbox: { skills: { a: { hosts: [127.0.0.1] } } }", "expected names such as"),
        ("sandbox: { skills: { a: { hosts: [\"*\"] } } }", "expected names such as"),
        ("sandbox: { skills: { a: { secrets: [NONE] } } }", "none of sandbox.secrets"),
        ("sandbox: { skills: { a: { host: [b.test] } } }", "did you mean hosts"),
        ("sandbox: { private_networks: [10/8] }", "expected ranges"),
        (
            "sandbox: { secrets: { K: { value: v } }, skills: { a: { secrets: [K] } } }",
            "has no hosts that it may be sent to"
        ),
        ("sandbox: { secrets: { K: { hosts: [a.test] } } }", "is needed here"),
        ("sandbox: { secrets: { K: { value: v, intercept_tls: 3 } } }", "intercept_tls"),
    ]

    @Test("what is wrong is said with its place", arguments: wrong.map(\.text))
    func refuses(text: String) throws {
        let error = #expect(throws: SettingsError.self) { try read(text) }

        let says = try #require(Self.wrong.first { $0.text == text }).says
        #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
        #expect(error?.description.hasPrefix("penstock.yaml:1: sandbox.") == true)
    }

    /// A turn in which the model runs one skill; what the sandbox was asked, and what the model was told.
    private func run(_ skill: String, key: String?) async throws -> (runs: [SandboxRun], told: String) {
        let folder = try SkillFolder()
        for name in ["weather", "other", "wrapper"] {
            try folder.write(
                "\(name)/SKILL.md",
                "---\nname: \(name)\ndescription: Test.\nmetadata: { penstock: { network: [x.test] } }\n---\n"
            )
        }
        let settings = try read(Self.text, environment: key.map { ["KEY": $0] } ?? [:])
        let skills = SkillLoader.load([folder.path], host: settings.skillHost)
        #expect(skills[skill]?.requestedHosts == ["x.test"])
        let sandbox = FakeSandbox(["bash": { _, _ in .exited(0) }])
        let arguments: [String: JSONValue] = ["skill": .string(skill), "command": "true"]
        let call = ModelToolCall(id: "1", name: "run_skill", arguments: .object(arguments))
        let bench = TurnBench(
            skills: skills,
            sandbox: sandbox,
            folders: StandInFolders.plain,
            grants: settings.sandbox.grants,
            ScriptedModel { request, _ in
                request.messages.last?.role == .tool
                    ? ScriptedModel.say("told: \(request.messages.last?.text ?? "")")
                    : ScriptedModel.call("run_skill", call)
            }
        )
        let replies = TurnBench.replies(await bench.handle("go", offset: 0))
        return (sandbox.runs, replies?.first ?? "")
    }

    @Test("reaches the sandbox with the skill's run, and no other's; asking is not having")
    func reachesTheSandbox() async throws {
        let weather = try await run("weather", key: "value")
        let other = try await run("other", key: "value")
        let wrapper = try await run("wrapper", key: "value")

        guard case .hosts(let hosts)? = weather.runs.first?.network else {
            Issue.record("no network: \(weather)")
            return
        }
        #expect(
            hosts.allowed.map(\.description) == ["api.test", "*.maps.test:8443"] && hosts.label == "weather"
        )
        guard case .hosts(let wrapped)? = wrapper.runs.first?.network else {
            Issue.record("no network: \(wrapper)")
            return
        }
        #expect(wrapped.secrets.map(\.interceptsTLS) == [false, true])
        #expect(hosts.secrets.map(\.value) == ["value"] && hosts.responseBytesMax == 1 << 20)
        #expect(other.runs.map(\.network) == [.none] && other.runs.first?.descriptorSecrets.isEmpty == true)
    }

    @Test("a granted secret that is missing is a result that says so, and nothing is run")
    func missingSecret() async throws {
        let (runs, told) = try await run("weather", key: nil)

        #expect(runs.isEmpty)
        #expect(told.contains("the environment variable KEY is not set"), "\(told)")
    }
}
