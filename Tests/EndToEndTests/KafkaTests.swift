import Foundation
import JSON
@testable import KafkaLog
import Pipeline
import Testing
import Topics

/// `PENSTOCK_TEST_KAFKA` names the brokers.
private let bootstrap: String? = {
    guard let servers = ProcessInfo.processInfo.environment["PENSTOCK_TEST_KAFKA"], !servers.isEmpty else {
        print("NOT CHECKED: the whole program on Kafka: PENSTOCK_TEST_KAFKA names no broker")
        return nil
    }
    return servers
}()

extension EndToEndTests {
    private static func world(attemptsMax: Int = 5) throws -> World {
        let prefix = "e2e-\(UUID().uuidString.prefix(8))."
        let servers = try #require(bootstrap)
        return try World(attemptsMax: attemptsMax, log: .kafka(bootstrap: servers, prefix: prefix))
    }

    @Test(
        "on Kafka, one process killed again and again: every event once, in order, and their fold",
        .enabled(if: bootstrap != nil)
    )
    func killsOnKafka() async throws {
        let seed = Chance.seed
        let world = try Self.world(attemptsMax: 20)
        let loop = KillLoop(world: world, conversations: 5, messages: 8, seed: seed)

        try await blocking { try loop.run() }
        let last = try await world.start()
        let isDelivered = try await blocking { world.platforms.wait(seconds: 60) { $0.count >= 40 } }
        let status = try await last.stop()
        let check = try await KillLoopCheck(loop)

        print(
            "kill -9 on Kafka: SEED=\(seed), \(loop.kills) kills (\(loop.killsAtWork) at work),",
            "\(loop.sends) sends, \(check.eventCount) events on the log, \(check.turnCount) turns,",
            "\(world.platforms.posts.count) delivered, \(check.problems.count) problems"
        )
        let problems = check.problems.prefix(20).map { String($0.prefix(300)) }.joined(separator: "\n")
        #expect(check.problems.isEmpty, "SEED=\(seed)\n\(problems)")
        #expect(loop.kills >= 3, "SEED=\(seed)")
        #expect(isDelivered && status == 0, "SEED=\(seed) \(last.errors.suffix(2_000))")
    }

    @Test(
        "on Kafka, roles apart: workers killed under load, each event is answered once",
        .enabled(if: bootstrap != nil)
    )
    func rolesOnKafka() async throws {
        let world = try Self.world(attemptsMax: 20)
        let (ingress, egress) = try await blocking {
            let ingress = try world.spawn("ingress")
            let egress = try world.spawn("egress")
            try ingress.waitUntilReady()
            try egress.waitUntilReady()
            return (ingress, egress)
        }
        let names = (0..<10).map { "D\($0)" }
        let count = 12
        try await blocking {
            var workers = try [world.spawn("worker"), world.spawn("worker")]
            for worker in workers { try worker.waitUntilReady() }
            for message in 0..<count {
                for name in names {
                    let body = World.slackMessage(
                        "/remember k v\(message)",
                        channel: name,
                        ts: KillLoop.ts(message)
                    )
                    let answer = try World.sendSlack(body, to: ingress.port)
                    #expect(answer.status == 200)
                }
                // Each of them twice, in the midst of its turns; its name comes back at once.
                guard message % 4 == 2 else { continue }
                let victim = message / 4 % 2
                workers[victim].end(SIGKILL)
                workers[victim] = try world.spawn("worker")
                try workers[victim].waitUntilReady()
            }
            let isAnswered = world.platforms.wait(seconds: 60) { $0.count >= names.count * count }
            #expect(
                isAnswered,
                "\(world.platforms.posts.count) delivered; \(workers[0].errors.suffix(2_000))"
            )
            for process in workers + [ingress, egress] { #expect(process.end(SIGTERM) == 0) }
        }

        let events = try await world.events()
        let replies = try await world.replies()
        let answered = Dictionary(grouping: replies, by: \.inResponseTo)
        #expect(events.count == names.count * count)
        #expect(events.allSatisfy { answered[$0.id]?.count == 1 })
        #expect(replies.count == events.count)
        for name in names {
            let mine = world.platforms.posts.filter { $0.body["channel"]?.stringValue == name }
            #expect(mine.map(\.text) == (0..<count).map { "I will remember that k is v\($0)." })
        }
        #expect(try await world.deadLetters().isEmpty)
    }

    @Test(
        "on Kafka, what is no event becomes a dead letter, and what comes after it is answered",
        .enabled(if: bootstrap != nil)
    )
    func junkOnKafka() async throws {
        let world = try Self.world()
        let penstock = try await world.start()
        let settings = KafkaSettings(bootstrap: try #require(bootstrap), instance: "junk")
        let foreign = try KafkaAppender(settings)
        // Without a key, without headers, with bytes that are no text, with an event's headers and no event.
        let name = world.name(of: EventsTopic.topic)
        let junk = [
            NewRecord(topic: name, key: "", value: Array("hello".utf8)),
            NewRecord(topic: name, key: "k", value: []),
            NewRecord(topic: name, key: "k", headers: [LogHeader("ce_id", [0xFF])], value: [0xFF, 0x00]),
            NewRecord(
                topic: name,
                key: "k",
                headers: [LogHeader("ce_specversion", "1.0"), LogHeader("content-type", "application/json")],
                value: Array("{".utf8)
            ),
        ]
        for record in junk { _ = try await foreign.append(record) }
        #expect(await foreign.close(within: .seconds(5)))

        let body = World.slackMessage("/remember a b", channel: "D1", ts: "1700000001.000100")
        let isAnswered = try await blocking {
            try World.sendSlack(body, to: penstock.port)
            return world.platforms.wait(seconds: 20) { $0.count >= 1 }
        }
        var letters = 0
        for _ in 0..<200 where letters < junk.count {
            letters = try await world.deadLetters().count
            try await Task.sleep(for: .milliseconds(50))
        }
        let status = try await penstock.stop()

        #expect(isAnswered && status == 0)
        #expect(letters == junk.count)
    }
}
