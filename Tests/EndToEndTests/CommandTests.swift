import Foundation
import JSON
import Pipeline
import Testing
import Topics

/// The commands, as a person or a script calls them.
@Suite("Commands", .serialized)
struct CommandTests {
    struct Outcome {
        let status: CInt
        let output: String
        let errors: String

        /// One JSON value a line.
        var values: [JSONValue] {
            get throws { try output.split(separator: "\n").map { try JSONValue(json: Array($0.utf8)) } }
        }
    }

    static func penstock(_ words: String..., in folder: String = "/tmp") async throws -> Outcome {
        try await blocking {
            let process = Process()
            process.executableURL = URL(filePath: PenstockProcess.executable)
            process.arguments = words
            process.currentDirectoryURL = URL(filePath: folder)
            process.environment = [
                "PATH": "/usr/bin:/bin", "SLACK_SIGNING_SECRET": "s", "SLACK_BOT_TOKEN": "t",
            ]
            let output = Foundation.Pipe()
            let errors = Foundation.Pipe()
            process.standardOutput = output
            process.standardError = errors
            try process.run()
            // Neither prints more than a pipe holds beside what is read first.
            let text = output.fileHandleForReading.readDataToEndOfFile()
            let complaint = errors.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return Outcome(
                status: process.terminationStatus,
                output: String(decoding: text, as: UTF8.self),
                errors: String(decoding: complaint, as: UTF8.self)
            )
        }
    }

    @Test("a dead letter is listed, shown and redriven, is then answered once, and can not be redriven again")
    func deadLetters() async throws {
        let world = try World(attemptsMax: 1)
        let config = "\(world.folder)/penstock.yaml"
        let settings = try String(contentsOfFile: config, encoding: .utf8)
        // Nobody listens on the discard port: every call of this model fails.
        let broken = "model: { openai: { base_url: \"http://127.0.0.1:9/v1\", model: none } }\n"
        try (settings + "\n" + broken).write(toFile: config, atomically: true, encoding: .utf8)
        let before = try await world.start()
        for (number, text) in ["/remember tea green", "/recall tea"].enumerated() {
            let ts = "170000000\(number).000100"
            let body = World.slackMessage(text, channel: "D1", ts: ts)
            _ = try await blocking { try World.sendSlack(body, to: before.port) }
        }
        #expect(try await blocking { world.platforms.wait(seconds: 30) { $0.count == 2 } }, "two apologies")
        #expect(try await before.stop() == 0)

        let listed = try await Self.penstock("deadletters", "list", "--json", "--config", config)
        let letters = try listed.values
        #expect(listed.status == 0 && letters.count == 2)
        #expect(letters.allSatisfy { $0["reason"] == "attempts_spent" && $0["state"] == "waits" })
        let ids = letters.compactMap { $0["id"]?.stringValue }
        let shown = try await Self.penstock("deadletters", "show", ids[0], "--config", config)
        #expect(shown.status == 0 && shown.output.contains("/remember tea green"))

        try settings.write(toFile: config, atomically: true, encoding: .utf8)
        let penstock = try await world.start()
        let redriven = try await Self.penstock("deadletters", "redrive", ids[0], "--config", config)
        #expect(redriven.status == 0 && redriven.output == "\(ids[0]): redriven\n", "\(redriven.errors)")
        #expect(try await blocking { world.platforms.wait(seconds: 30) { $0.count == 3 } })
        #expect(world.platforms.posts.last?.text == "I will remember that tea is green.")
        let again = try await Self.penstock("deadletters", "redrive", ids[0], "--config", config)
        #expect(again.status == 1 && again.errors.contains("was redriven already"))
        let dropped = try await Self.penstock("deadletters", "drop", "--all", "--config", config)
        #expect(dropped.output == "\(ids[1]): dropped\n")
        let rest = try await Self.penstock("deadletters", "list", "--config", config)
        #expect(rest.output == "There are no dead letters.\n")
        let all = try await Self.penstock("deadletters", "list", "--all", "--json", "--config", config)
        #expect(try all.values.compactMap { $0["state"]?.stringValue }.sorted() == ["dropped", "redriven"])
        let unknown = try await Self.penstock("deadletters", "show", "0-4711", "--config", config)
        #expect(unknown.status == 1 && unknown.errors.contains("there is no dead letter 0-4711"))
        #expect(try await penstock.stop() == 0)
    }

    @Test(
        "send gives the running pipeline a message and prints the answer; without one it says what to start"
    )
    func send() async throws {
        let world = try World()
        let config = "\(world.folder)/penstock.yaml"
        let alone = try await Self.penstock("send", "/help", "--config", config)
        #expect(alone.status == 1 && alone.errors.contains("penstock run"), "\(alone.errors)")
        let penstock = try await world.start()

        let first = try await Self.penstock("send", "/remember tea green", "--config", config)
        let second = try await Self.penstock("send", "/recall tea", "--json", "--config", config)
        let listed = try await Self.penstock("conversations", "list", "--json", "--config", config)
        let topics = try await Self.penstock("topics", "list", "--json", "--config", config)
        #expect(try await penstock.stop() == 0)

        #expect(first.status == 0 && first.output.contains("I will remember that tea is green."))
        #expect(second.status == 0 && second.output.contains("tea is green."))
        #expect(try second.values.count >= 1)
        #expect(try listed.values.count == 1)
        #expect(listed.output.contains("webhook:"))
        #expect(try topics.values.contains { $0["topic"]?.stringValue?.hasSuffix("events") == true })
    }

    @Test(
        "wrong use is refused with what is right, and exits with 2",
        arguments: [
            (["rnu"], "run"), (["run", "--prot", "1"], "--port"), (["run", "--port", "many"], "--port many"),
            (["deadletters", "show"], "ID"), (["deadletters", "redrive"], "--all"),
            (["bench", "nothing"], "turns"),
            (["run", "--config", "/nowhere/penstock.yaml"], "/nowhere/penstock.yaml"),
        ]
    )
    func usage(words: [String], hint: String) async throws {
        let outcome = try await Self.run(words)

        #expect(outcome.status == 2 && outcome.output.isEmpty)
        #expect(outcome.errors.contains(hint), "\(outcome.errors)")
    }

    private static func run(_ words: [String]) async throws -> Outcome {
        switch words.count {
        case 1: try await penstock(words[0])
        case 2: try await penstock(words[0], words[1])
        default: try await penstock(words[0], words[1], words[2])
        }
    }

    @Test(
        "broken settings are refused with file, line, key and what is allowed",
        arguments: [
            ("http:\n  prot: 1\n", ":2", "prot"), ("http: { port: 99999 }\n", ":1", "65535"),
            ("data: [\n", ":", "penstock.yaml"), ("log: paper\n", ":1", "embedded"),
            ("a: 1\na: 2\n", ":", "a"), ("channels:\n  slack: { api_base: 5 }\n", ":2", "slack"),
        ]
    )
    func settings(text: String, place: String, word: String) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "penstock-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let config = folder.appending(path: "penstock.yaml").path
        try text.write(toFile: config, atomically: true, encoding: .utf8)

        let outcome = try await Self.penstock("run", "--config", config)

        #expect(outcome.status == 2)
        #expect(outcome.errors.contains("\(config)\(place)"), "\(outcome.errors)")
        #expect(outcome.errors.contains(word), "\(outcome.errors)")
    }

    @Test("a data folder that can not be used, a skill that can not be read: each is named")
    func named() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "penstock-\(UUID().uuidString)")
            .path
        let skill = "\(folder)/skills/broken"
        try FileManager.default.createDirectory(atPath: skill, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try "x".write(toFile: "\(folder)/file", atomically: true, encoding: .utf8)
        try "---\nname: broken\ndescription: [\n---\n".write(
            toFile: "\(skill)/SKILL.md",
            atomically: true,
            encoding: .utf8
        )
        let config = "\(folder)/penstock.yaml"
        try "data: \(folder)/file\n".write(toFile: config, atomically: true, encoding: .utf8)

        let run = try await Self.penstock("run", "--config", config)
        let check = try await Self.penstock("skills", "check", "\(folder)/skills")

        #expect(run.status == 1 && run.errors.contains("\(folder)/file"), "\(run.errors)")
        #expect(check.status == 1, "\(check.output)")
        #expect(
            (check.output + check.errors).contains("\(skill)/SKILL.md:"),
            "\(check.output)\(check.errors)"
        )
    }

    @Test("doctor has an id, what was seen and what mends it, for each of its findings")
    func doctor() async throws {
        let world = try World()
        // Without its folder there is no store yet to look at.
        mkdir("\(world.folder)/data", 0o700)
        let outcome = try await Self.penstock("doctor", "--json", "--config", "\(world.folder)/penstock.yaml")

        let findings = try outcome.values
        let ids = findings.compactMap { $0["id"]?.stringValue }
        #expect(ids.count == findings.count && Set(ids).count == ids.count && ids.count > 10)
        for id in ["settings", "data", "store", "model", "librdkafka", "sandbox.seccomp"] {
            #expect(ids.contains(id), "\(ids)")
        }
    }

    @Test("every command of the tree explains itself")
    func help() async throws {
        for words in [
            ["--help"], ["run", "--help"], ["deadletters", "--help"], ["bench", "turns", "--help"],
        ] {
            let outcome = try await Self.run(words)
            #expect(outcome.status == 0 && outcome.output.contains("penstock"), "\(words): \(outcome.errors)")
        }
    }
}
