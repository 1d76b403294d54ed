import Adapters
import JSON
import Pipeline
import Synchronization
import Testing
import Topics

@Suite("Web chat")
struct WebChatTests {
    private static let session = String(repeating: "ab", count: 32)

    private static func post(_ body: JSONValue, _ fields: [(String, String?)] = []) -> HTTPRequest {
        var request = HTTPRequest(
            method: "POST",
            target: "/v1/chat/messages",
            fields: [
                "Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080",
                "Content-Type": "application/json",
                "Cookie": "a=b; penstock_session=\(session)",
            ],
            body: body.json
        )
        for (name, value) in fields { request.fields[name] = value }
        return request
    }

    private let chat = WebChat(hosts: HostGuard(names: ["Chat.Example"]), chance: countingChance())

    @Test("a message is an event of the session's conversation, whose secret appears nowhere")
    func message() throws {
        let reception = try chat.receive(Self.post(["id": "m1", "text": "hi"]), at: someTime)
        let event = try #require(reception.events.first)
        #expect(event.data.platform == "web")
        #expect(event.data.message?.text == "hi")
        #expect(event.data.message?.addressed == .direct)
        #expect(event.dedupekey.hasSuffix(":m1"))
        #expect(!String(decoding: event.record(topic: "t").value, as: UTF8.self).contains(Self.session))
        #expect(!event.partitionkey.contains(Self.session))
        #expect(reception.respond?(["id-9"]).body == Array(#"{"id":"id-9"}"#.utf8))
    }

    @Test("the same message sent again is the same thing; another session's is not")
    func dedupe() throws {
        let request = Self.post(["id": "m1", "text": "hi"])
        let other = Self.post(
            ["id": "m1", "text": "hi"],
            [("Cookie", "penstock_session=\(String(repeating: "cd", count: 32))")]
        )
        let keys = try [request, request, other].map {
            try chat.receive($0, at: someTime).events.first?.dedupekey
        }
        #expect(keys[0] == keys[1])
        #expect(keys[0] != keys[2])
    }

    @Test(
        "what a page of another site can make a browser send is refused",
        arguments: [
            ("Origin", "https://evil.example"), ("Origin", "null"), ("Origin", "http://127.0.0.1:9999"),
            ("Host", "evil.example"), ("Host", "127.0.0.1.evil.example"), ("Host", nil),
            ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"),
        ] as [(String, String?)]
    )
    func foreign(name: String, value: String?) {
        #expect(refusal(Self.post(["id": "m1", "text": "hi"], [(name, value)]))?.kind == .forbidden)
    }

    @Test(
        "addresses, localhost and names that are set are welcome",
        arguments: ["localhost", "localhost:1", "[::1]:8080", "10.1.2.3", "chat.example", "CHAT.example:443"]
    )
    func hosts(host: String) {
        let request = Self.post(["id": "m1", "text": "hi"], [("Host", host), ("Origin", "http://\(host)")])
        #expect(refusal(request) == nil)
    }

    @Test("a form's type is refused, and so are a missing session, a blank text and a long one")
    func refused() {
        let good: JSONValue = ["id": "m1", "text": "hi"]
        #expect(refusal(Self.post(good, [("Content-Type", "text/plain")]))?.kind == .unsupportedMediaType)
        #expect(refusal(Self.post(good, [("Cookie", nil)]))?.kind == .unauthenticated)
        #expect(refusal(Self.post(good, [("Cookie", "penstock_session=short")]))?.kind == .unauthenticated)
        #expect(refusal(Self.post(["id": "m1", "text": " \n"]))?.kind == .malformed)
        let long = String(repeating: "x", count: 32_769)
        #expect(refusal(Self.post(["id": "m1", "text": .string(long)]))?.kind == .malformed)
        #expect(refusal(Self.post(["id": "m 1", "text": "hi"]))?.kind == .malformed)
        #expect(refusal(Self.post([]))?.kind == .malformed)
    }

    private func refusal(_ request: HTTPRequest) -> ReceiveError? {
        do throws(ReceiveError) {
            _ = try chat.receive(request, at: someTime)
            return nil
        } catch {
            return error
        }
    }
}

@Suite("Web chat: the page")
struct WebChatPageTests {
    private static let session = String(repeating: "ab", count: 32)

    private func page(history: [ChatMessage] = []) -> WebChatPage {
        WebChatPage(
            hosts: HostGuard(names: []),
            replies: ReplyFeed(log: ListLog(), topicPrefix: "penstock.", time: stillTime),
            secret: { Self.session },
            history: { _ in history }
        )
    }

    @Test("the page comes whole, allows nothing from elsewhere, and starts a session once")
    func document() {
        var request = HTTPRequest(method: "GET", target: "/", fields: ["Host": "localhost:8080"])
        let first = page().page(request)
        let text = String(decoding: first.body, as: UTF8.self)
        #expect(first.status == 200)
        #expect(text.hasPrefix("<!doctype html>"))
        #expect(!text.contains("src=\"http") && !text.contains("@import"))
        let policy = first.fields["Content-Security-Policy"] ?? ""
        #expect(policy.contains("default-src 'none'") && !policy.contains("unsafe"))
        let cookie = first.fields["Set-Cookie"] ?? ""
        #expect(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"))

        request.fields["Cookie"] = "penstock_session=\(Self.session)"
        #expect(page().page(request).fields["Set-Cookie"] == nil)
        request.fields["Host"] = "evil.example"
        #expect(page().page(request).status == 403)
        request.method = "POST"
        #expect(page().page(request).status == 405)
    }

    @Test("the history comes with the place where the stream goes on")
    func history() async throws {
        let message = ChatMessage(role: .agent, text: "hello", time: someTime, id: "r1")
        var request = HTTPRequest(method: "GET", target: "/v1/chat/history", fields: ["Host": "localhost"])
        #expect(await page(history: [message]).history(request).status == 401)
        request.fields["Cookie"] = "penstock_session=\(Self.session)"
        let answer = try JSONValue(json: await page(history: [message]).history(request).body)
        #expect(answer["next"] == "0")
        #expect(answer["messages"]?[0]?["text"] == "hello")
        #expect(answer["messages"]?[0]?["role"] == "agent")
    }
}

/// Time that stands still: sleeping ends by cancellation only.
let stillTime = TimeSource(
    now: { someTime },
    sleep: { _ in
        let forever = AsyncStream<Void> { _ in }
        for await _ in forever {}
        throw CancellationError()
    }
)

/// Time in which every wait is over at once.
let swiftTime = TimeSource(now: { someTime }, sleep: { _ in await Task.yield() })
