import Foundation
import JSON
import Pipeline
import Testing
import Topics

@Suite("From webhook to delivered reply, through the real program", .serialized)
struct EndToEndTests {
    @Test("a signed Slack message is answered in its thread, however often Slack sends it")
    func slack() async throws {
        let world = try World()
        let penstock = try await world.start()
        let top = World.slackMessage("<@UBOT> /remember colour blue", channel: "C1", ts: "1700000001.000100")
        let inThread = World.slackMessage(
            "/recall colour",
            channel: "C1",
            ts: "1700000002.000100",
            ["thread_ts": "1700000001.000100"]
        )

        let answers = try await blocking {
            let first = try (0..<4).map { _ in try World.sendSlack(top, to: penstock.port) }
            return try first + [World.sendSlack(inThread, to: penstock.port)]
        }
        let isAnswered = try await blocking { world.platforms.wait(seconds: 20) { $0.count >= 2 } }
        let status = try await penstock.stop()

        #expect(answers.map(\.status) == [200, 200, 200, 200, 200])
        let marks = answers.compactMap { $0.fields["penstock-delivery"]?.split(separator: ";").first }
        #expect(marks == ["durable", "duplicate", "duplicate", "duplicate", "durable"])
        #expect(isAnswered && status == 0)
        let posts = world.platforms.posts
        #expect(posts.map(\.path) == ["/api/chat.postMessage", "/api/chat.postMessage"])
        #expect(posts.allSatisfy { $0.isAuthorized && $0.body["channel"] == "C1" })
        #expect(posts.allSatisfy { $0.body["thread_ts"] == "1700000001.000100" })
        #expect(posts.map(\.text) == ["I will remember that colour is blue.", "colour is blue."])
        #expect(try await world.turns().filter { $0.outcome == .answered }.count == 2)
        #expect(try await world.replies().count == 2)
        #expect(try await world.receipts().filter { $0.state == .sent }.count == 2)
    }

    @Test("a WhatsApp batch of 3 × 3 messages is nine events and nine replies")
    func whatsApp() async throws {
        let world = try World()
        let penstock = try await world.start()
        let body = World.whatsAppBatch(1, 3, 3)

        let answer = try await blocking {
            try Wire.send(penstock.port, "POST", "/v1/whatsapp/webhook", World.whatsAppFields(body), body)
        }
        let isAnswered = try await blocking { world.platforms.wait(seconds: 20) { $0.count >= 9 } }
        #expect(try await penstock.stop() == 0)

        #expect(answer.status == 200 && isAnswered)
        #expect(try await world.events().count == 9)
        let replies = try await world.replies()
        #expect(replies.count == 9 && Set(replies.map(\.conversation)).count == 9)
        let posts = world.platforms.posts
        #expect(posts.count == 9 && posts.allSatisfy { $0.path == "/graph/1001/messages" && $0.isAuthorized })
        #expect(Set(posts.compactMap { $0.body["to"]?.stringValue }).count == 9)
        #expect(Set(posts.map(\.text)).count == 9)
    }

    @Test("what was remembered and the files of the workspace outlive the process")
    func restart() async throws {
        let world = try World()
        let before = ["/remember name Ada", "/todo add Water the plants"]
        let after = ["/recall name", "/todo list"]
        for (round, texts) in [before, after].enumerated() {
            let penstock = try await world.start()
            for (index, text) in texts.enumerated() {
                let ts = "170000000\(round).00010\(index)"
                _ = try await blocking {
                    try World.sendSlack(World.slackMessage(text, channel: "D1", ts: ts), to: penstock.port)
                }
            }
            let wanted = (round + 1) * 2
            #expect(try await blocking { world.platforms.wait(seconds: 20) { $0.count >= wanted } })
            #expect(try await penstock.stop() == 0)
        }

        #expect(
            world.platforms.posts.map(\.text) == [
                "I will remember that name is Ada.", "1. [ ] Water the plants", "name is Ada.",
                "1. [ ] Water the plants",
            ]
        )
    }

    @Test("a platform that is busy, broken or silent gets each reply once all the same")
    func faults() async throws {
        let world = try World()
        world.platforms.inject([
            .status(429, retryAfter: 1), .status(503, retryAfter: nil), .dropAnswer, .dropRequest,
        ])
        let penstock = try await world.start()
        let body = World.slackMessage("/remember a b", channel: "D1", ts: "1700000001.000100")
        _ = try await blocking { try World.sendSlack(body, to: penstock.port) }
        var receipts: [Receipt] = []
        for _ in 0..<300 where receipts.isEmpty {
            receipts = try await world.receipts()
            if receipts.isEmpty { _ = try await blocking { usleep(100_000) } }
        }
        #expect(try await penstock.stop() == 0)

        #expect(receipts.map(\.state) == [.sent])
        #expect(world.platforms.posts.map(\.text) == ["I will remember that a is b."])
    }

    @Test("what is wrong is refused by its status, and leaves nothing behind")
    func badInput() async throws {
        let world = try World()
        let penstock = try await world.start()
        let good = World.slackMessage("/help", channel: "D1", ts: "1700000001.000100")
        let slack = "/v1/slack/events"
        let big = [UInt8](repeating: 0x20, count: 70_000)
        let requests: [(Int, String, String, [String: String], [UInt8])] = [
            (401, "POST", slack, [:], good),
            (401, "POST", slack, World.slackFields(good, secret: "wrong"), good),
            (401, "POST", slack, World.slackFields(good, age: 600), good),
            (401, "POST", slack, World.slackFields(good), good + [0x20]),
            (400, "POST", slack, World.slackFields(Array("{".utf8)), Array("{".utf8)),
            (400, "POST", slack, World.slackFields([0xFF, 0xFE]), [0xFF, 0xFE]),
            (413, "POST", slack, World.slackFields(big), big),
            (405, "PUT", slack, World.slackFields(good), good),
            (404, "POST", "/v1/nothing", [:], good),
            (401, "POST", "/v1/whatsapp/webhook", [:], Array("{}".utf8)),
            (401, "POST", "/v1/whatsapp/webhook", World.whatsAppFields(good, secret: "x"), good),
            (400, "POST", "/v1/whatsapp/webhook", World.whatsAppFields(Array("[".utf8)), Array("[".utf8)),
            (400, "POST", "/v1/events", ["Content-Type": "application/json"], Array("nope".utf8)),
        ]

        for (status, method, target, fields, body) in requests {
            let answer = try await blocking { try Wire.send(penstock.port, method, target, fields, body) }
            #expect(answer.status == status, "\(method) \(target): \(answer.status) \(answer.text)")
        }

        #expect(try await blocking { try Wire.send(penstock.port, "GET", "/health/live") }.status == 200)
        #expect(try await penstock.stop() == 0)
        #expect(try await world.events().isEmpty)
        #expect(!penstock.errors.contains("/help"))
    }

    @Test("a skill sees no network, no file of the host, and nothing of the worker's environment")
    func sandbox() async throws {
        let folder = try SkillProbe.make()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let world = try World(skills: [folder])
        let penstock = try await world.start()
        let line = "/probe \(world.platforms.port) \(world.folder)/penstock.yaml 'two words' $HOME"
        let body = World.cloudEvent(line, id: "1", conversation: "c")

        let accepted = try await blocking {
            try Wire.send(penstock.port, "POST", "/v1/events", ["Content-Type": "application/json"], body)
        }
        let seen = world.platforms.requests
        var replies: [Reply] = []
        for _ in 0..<200 where replies.isEmpty {
            replies = try await world.replies()
            if replies.isEmpty { _ = try await blocking { usleep(50_000) } }
        }
        #expect(try await penstock.stop() == 0)

        let text = try #require(replies.first?.text)
        #expect(accepted.status == 202)
        #expect(text.contains("connect: refused") && world.platforms.requests == seen, "\(text)")
        #expect(text.contains("interfaces: lo\n") || text.contains("interfaces: none\n"), "\(text)")
        #expect(text.contains("settings: no"), "\(text)")
        #expect(text.contains("words: [two words] [$HOME]"), "\(text)")
        #expect(text.contains("own folder: read-only"), "\(text)")
        #expect(text.contains("cwd: /work"), "\(text)")
        for secret in [World.bait, World.token, World.signingSecret] { #expect(!text.contains(secret)) }
    }

    @Test("SIGTERM lets the turn under way end and loses nothing")
    func drains() async throws {
        let folder = try SkillProbe.make()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let world = try World(skills: [folder])
        let penstock = try await world.start()
        let body = World.slackMessage("/probe sleep", channel: "D1", ts: "1700000001.000100")

        let answer = try await blocking { try World.sendSlack(body, to: penstock.port) }
        let isUnderWay = try await blocking {
            try penstock.waitForMetric(#"penstock_runner_in_flight_records{group="penstock-workers"} 1"#)
        }
        let status = try await penstock.stop()
        let turns = try await world.turns()
        let second = try await world.start()
        let isDelivered = try await blocking { world.platforms.wait(seconds: 20) { !$0.isEmpty } }
        #expect(try await second.stop() == 0)

        #expect(isUnderWay)
        #expect(answer.status == 200 && status == 0 && isDelivered)
        #expect(turns.map(\.outcome) == [.answered])
        #expect(world.platforms.posts.map(\.text) == ["slept"])
    }
}

/// A skill that tries what it must not be able to do.
enum SkillProbe {
    static func make() throws -> String {
        let folder = "/tmp/penstock-probe-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let scripts = "\(folder)/probe/scripts"
        try FileManager.default.createDirectory(atPath: scripts, withIntermediateDirectories: true)
        let document = "---\nname: probe\ndescription: Tries the walls.\n---\n"
        try document.write(toFile: "\(folder)/probe/SKILL.md", atomically: false, encoding: .utf8)
        let script = """
            #!/usr/bin/env python3
            import os, socket, sys, time
            if sys.argv[1:] == ["sleep"]:
                time.sleep(1.5)
                print("slept")
                sys.exit()
            port, settings = int(sys.argv[1]), sys.argv[2]
            print("cwd:", os.getcwd())
            try:
                socket.create_connection(("127.0.0.1", port), 2).sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
                print("connect: worked")
            except OSError:
                print("connect: refused")
            names = sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else []
            print("interfaces:", " ".join(names) or "none")
            print("settings:", "yes" if os.path.exists(settings) else "no")
            print("words:", " ".join(f"[{w}]" for w in sys.argv[3:]))
            try:
                open("/skills/probe/new", "w")
                print("own folder: writable")
            except OSError:
                print("own folder: read-only")
            print("environment:", dict(os.environ))
            for path in ("/proc/1/environ", f"/proc/{os.getppid()}/environ"):
                try:
                    print(path, open(path).read())
                except OSError as error:
                    print(path, error.strerror)
            """
        let path = "\(scripts)/probe.py"
        try script.write(toFile: path, atomically: false, encoding: .utf8)
        chmod(path, 0o755)
        return folder
    }
}
