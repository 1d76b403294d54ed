import Adapters
import JSON
import Pipeline
import Synchronization
import Testing
import Topics

/// Collects what a stream writes, and lets a test wait for a word in it.
private actor Listener: StreamWriter {
    private(set) var text = ""
    private var waiting: [(String, CheckedContinuation<Void, Never>)] = []

    func write(_ bytes: [UInt8]) {
        text += String(decoding: bytes, as: UTF8.self)
        waiting.removeAll { word, continuation in
            guard text.contains(word) else { return false }
            continuation.resume()
            return true
        }
    }

    func hears(_ word: String) async {
        guard !text.contains(word) else { return }
        await withCheckedContinuation { waiting.append((word, $0)) }
    }
}

@Suite("Replies on their way back", .timeLimit(.minutes(1)))
struct FeedTests {
    private static let session = String(repeating: "ab", count: 32)
    private let log = ListLog()
    private let live = LiveFeed()
    private let feed: ReplyFeed

    init() {
        feed = ReplyFeed(log: log, topicPrefix: "penstock.", time: stillTime)
    }

    private func say(_ text: String, to conversation: String, id: String = "r", log: ListLog? = nil)
        async throws
    {
        var reply = Reply()
        reply.replyID = id
        reply.conversation = conversation
        reply.platform = "web"
        reply.inResponseTo = "e"
        reply.text = text
        _ = try await (log ?? self.log).append([
            NewRecord(topic: "penstock.replies", key: conversation, value: reply.json)
        ])
    }

    /// Runs the feed beside the body and ends it afterwards.
    private func withFeed(_ body: () async throws -> Void) async throws {
        let feed = feed
        let task = Task { try await feed.run() }
        try await body()
        task.cancel()
        await log.wake()
        _ = await task.result
    }

    private var conversation: String {
        get throws {
            let chat = WebChat(hosts: HostGuard(names: []), chance: countingChance())
            let request = HTTPRequest(
                method: "POST",
                target: "/v1/chat/messages",
                fields: [
                    "Host": "localhost", "Content-Type": "application/json",
                    "Cookie": "penstock_session=\(Self.session)",
                ],
                body: Array(#"{"id":"1","text":"x"}"#.utf8)
            )
            return try chat.receive(request, at: someTime).events[0].partitionkey
        }
    }

    private func streaming(
        _ fields: [(String, String)] = [],
        query: String = "",
        _ body: (Listener) async throws -> Void
    ) async throws {
        var request = HTTPRequest(
            method: "GET",
            target: "/v1/chat/stream" + query,
            fields: ["Host": "localhost", "Cookie": "penstock_session=\(Self.session)"]
        )
        for (name, value) in fields { request.fields[name] = value }
        let stream = WebChatStream(hosts: HostGuard(names: []), replies: feed, live: live, time: stillTime)
        guard case .stream(let head, let run) = stream.answer(request) else {
            Issue.record("refused")
            return
        }
        #expect(head["Content-Type"] == "text/event-stream; charset=utf-8")
        let listener = Listener()
        let task = Task { try await run(listener) }
        try await body(listener)
        task.cancel()
        _ = await task.result
    }

    @Test("a committed reply reaches the page with its place on the log")
    func reply() async throws {
        let key = try conversation
        try await withFeed {
            try await streaming(query: "?from=0") { listener in
                await listener.hears("retry: ")
                try await say("for others", to: "web:chat:other")
                try await say("hello", to: key, id: "r1")
                await listener.hears("hello")
                #expect(await listener.text.contains("id: 0\nevent: reply\ndata: {\"id\":\"r1\""))
                #expect(await !listener.text.contains("for others"))
            }
        }
    }

    @Test("a page that comes back gets exactly what it missed")
    func resume() async throws {
        let key = try conversation
        for index in 0..<5 { try await say("text-\(index)", to: key, id: "r\(index)") }
        try await withFeed {
            try await streaming([("Last-Event-ID", "2")], query: "?from=0") { listener in
                await listener.hears("text-4")
                try await say("text-5", to: key, id: "r5")
                await listener.hears("text-5")
                let text = await listener.text
                #expect(!text.contains("text-2") && text.contains("text-3"))
                #expect(
                    text.split(separator: "\n").filter { $0.hasPrefix("id: ") } == [
                        "id: 3", "id: 4", "id: 5",
                    ]
                )
            }
        }
    }

    @Test("thousands of replies, before and while somebody reads, arrive once and in order")
    func flood() async throws {
        let key = try conversation
        for index in 0..<1_500 { try await say("<\(index)>", to: key) }
        try await withFeed {
            try await streaming(query: "?from=0") { listener in
                for index in 1_500..<3_000 { try await say("<\(index)>", to: key) }
                await listener.hears("<2999>")
                let ids = await listener.text.split(separator: "\n").filter { $0.hasPrefix("id: ") }
                #expect(ids == (0..<3_000).map { "id: \($0)" })
            }
        }
    }

    @Test("what a turn says meanwhile is shown in pieces, also to those who come late")
    func liveText() async throws {
        let key = try conversation
        live.publish(.started(eventID: "e1"), to: key)
        live.publish(.text("Hel"), to: key)
        try await streaming(query: "?from=0") { listener in
            await listener.hears("Hel")
            #expect(await listener.text.contains(#"data: {"append":false,"text":"Hel"}"#))
            live.publish(.text("lo"), to: key)
            await listener.hears(#"{"append":true,"text":"lo"}"#)
            live.publish(.skillStarted("weather"), to: key)
            await listener.hears(#"{"name":"weather","state":"running"}"#)
            live.publish(.skillEnded("weather", succeeded: true), to: key)
            await listener.hears(#"{"name":"weather","state":"done"}"#)
            live.publish(.text("It rains"), to: key)
            await listener.hears(#"{"append":false,"text":"It rains"}"#)
            live.publish(.finished, to: key)
            await listener.hears(#"{"state":"ended"}"#)
            #expect(live.current(key) == nil)
        }
    }

    @Test("a reader who is too slow for every change still gets the whole text")
    func slowReader() async throws {
        let key = try conversation
        live.publish(.started(eventID: "e1"), to: key)
        try await streaming(query: "?from=0") { listener in
            for index in 0..<2_000 { live.publish(.text("\(index),"), to: key) }
            await listener.hears("1999,")
            var whole = ""
            for line in await listener.text.split(separator: "\n") where line.contains("\"append\"") {
                let part = try JSONValue(json: Array(line.dropFirst("data: ".count).utf8))
                if part["append"] == false { whole = "" }
                whole += part["text"]?.stringValue ?? ""
            }
            #expect(whole == (0..<2_000).map { "\($0)," }.joined())
        }
    }

    @Test("waiting for a reply ends with it, and asking again after it waits for the next")
    func longPoll() async throws {
        let key = "webhook:/my/irc:#ops"
        let query = "/v1/replies?conversation=webhook:/my/irc:%23ops&wait=30&after="
        let endpoint = RepliesEndpoint(access: Self.openAccess, replies: feed, time: stillTime)
        try await withFeed {
            async let first = endpoint.answer(Self.get(query + "0"))
            try await say("one", to: key, id: "r1")
            let answer = try JSONValue(json: await first.body)
            #expect(answer["replies"]?[0]?["text"] == "one")
            #expect(answer["next"] == "1")

            async let second = endpoint.answer(Self.get(query + "1"))
            try await say("two", to: key, id: "r2")
            let more = try JSONValue(json: await second.body)
            #expect(more["replies"]?.arrayValue?.count == 1)
            #expect(more["replies"]?[0]?["text"] == "two")
        }
    }

    @Test("without a reply the wait ends with an empty list and the same place")
    func emptyPoll() async throws {
        let endpoint = RepliesEndpoint(access: Self.openAccess, replies: feed, time: swiftTime)
        let answer = await endpoint.answer(Self.get("/v1/replies?conversation=x-irc:a:b&wait=1"))
        #expect(answer.status == 200)
        #expect(try JSONValue(json: answer.body) == ["next": "0", "replies": []])
    }

    @Test(
        "what cannot be asked is said",
        arguments: [
            ("", 400), ("conversation=nokey", 400), ("conversation=slack:T1/A1:C1", 403),
            ("conversation=web:chat:x", 403),
            ("conversation=x-a:b:c&wait=61", 400), ("conversation=x-a:b:c&after=-1", 400),
            ("conversation=%zz", 400),
        ]
    )
    func badPolls(query: String, status: Int) async {
        let endpoint = RepliesEndpoint(access: Self.openAccess, replies: feed, time: swiftTime)
        #expect(await endpoint.answer(Self.get("/v1/replies?" + query)).status == status)
    }

    private static func get(_ target: String) -> HTTPRequest {
        HTTPRequest(method: "GET", target: target, fields: ["Host": "localhost"])
    }

    private static let openAccess = EventsAccess(
        tokens: { [] },
        secrets: { [] },
        admitsAnyone: true,
        hosts: HostGuard(names: [])
    )
}
