import Adapters
import JSON
import Pipeline
import Testing
import Topics

private func delivery(
    _ text: String,
    handle: String,
    adapter: any ChannelAdapter,
    chunk: Int = 0
) -> Delivery {
    var reply = Reply()
    reply.replyID = "slack:T1/A1:C1/3/0"
    reply.handle = handle
    reply.text = text
    reply.createdAt = someTime
    return Delivery(reply: reply, chunk: chunk, text: adapter.chunks(of: reply)[chunk])
}

/// What a caller does next, without the words for people.
private enum Verdict: Equatable {
    case confirmed(String)
    case failed(String)
    case retry(Duration?, throttled: Bool)
    case ambiguous
    case absent

    init(_ result: DeliveryResult) {
        self =
            switch result {
            case .confirmed(let id): .confirmed(id)
            case .failed(let code, _): .failed(code)
            case .retry(let after, let throttled, _): .retry(after, throttled: throttled)
            case .ambiguous: .ambiguous
            case .absent: .absent
            }
    }
}

@Suite("Slack: delivering")
struct SlackDeliverTests {
    private static let handle = #"{"channel":"C1","thread_ts":"1.2"}"#
    private let slack = SlackSupport.adapter()

    @Test("a reply is posted into its thread, once, with the key that finds it again")
    func post() async throws {
        let transport = FakeTransport(200, ["ok": true, "ts": "1700000001.000200", "channel": "C1"])
        let result = await slack.deliver(
            delivery("**hi** <!channel>", handle: Self.handle, adapter: slack),
            over: transport
        )

        #expect(result == .confirmed(platformID: "1700000001.000200"))
        let request = try #require(transport.requests.first)
        let body = try JSONValue(json: request.body)
        #expect(transport.requests.count == 1)
        #expect(request.target == "https://slack.example/api/chat.postMessage")
        #expect(request.fields["Authorization"] == "Bearer xoxb-1")
        #expect(request.fields["Content-Type"] == "application/json; charset=utf-8")
        #expect(body["channel"] == "C1")
        #expect(body["thread_ts"] == "1.2")
        #expect(body["text"] == "*hi* &lt;!channel&gt;")
        #expect(body["metadata"]?["event_payload"]?["idempotency_key"] == "slack:T1/A1:C1/3/0/0")
    }

    @Test("without a thread there is none in the request")
    func noThread() async throws {
        let transport = FakeTransport(200, ["ok": true, "ts": "1.3"])
        _ = await slack.deliver(delivery("hi", handle: #"{"channel":"D1"}"#, adapter: slack), over: transport)
        #expect(try JSONValue(json: transport.requests[0].body)["thread_ts"] == nil)
    }

    @Test(
        "every answer means what Slack says it means",
        arguments: [
            (200, "channel_not_found", .failed("channel_not_found")),
            (200, "msg_too_long", .failed("msg_too_long")),
            (200, "not_in_channel", .failed("not_in_channel")), (200, "is_archived", .failed("is_archived")),
            (200, "something_new", .failed("something_new")),
            (200, "ratelimited", .retry(nil, throttled: true)),
            (200, "service_unavailable", .retry(nil, throttled: false)), (200, "fatal_error", .ambiguous),
            (200, "internal_error", .ambiguous), (200, "invalid_auth", .retry(.seconds(60), throttled: true)),
            (200, "missing_scope", .retry(.seconds(60), throttled: true)),
            (503, nil, .retry(nil, throttled: false)),
            (500, nil, .retry(nil, throttled: false)), (404, nil, .failed("http_404")),
            (200, nil, .ambiguous),
        ] as [(Int, String?, Verdict)]
    )
    private func refusals(status: Int, error: String?, expected: Verdict) async {
        var body: [String: JSONValue] = [:]
        if let error { body = ["ok": false, "error": .string(error)] }
        let result = await slack.deliver(
            delivery("hi", handle: Self.handle, adapter: slack),
            over: FakeTransport(status, .object(body))
        )
        #expect(Verdict(result) == expected)
    }

    @Test("being throttled waits as long as Slack says")
    func throttled() async {
        let transport = FakeTransport(429, ["ok": false, "error": "ratelimited"], ["Retry-After": "30"])
        let result = await slack.deliver(delivery("hi", handle: Self.handle, adapter: slack), over: transport)
        #expect(Verdict(result) == .retry(.seconds(30), throttled: true))
    }

    @Test(
        "a lost answer is ambiguous, an unreachable server is not",
        arguments: [
            (.interrupted, .ambiguous), (.limit, .ambiguous), (.cancelled, .ambiguous),
            (.unreachable, .retry(nil, throttled: false)), (.invalid, .failed("invalid_request")),
        ] as [(HTTPTransportError.Kind, Verdict)]
    )
    private func lost(kind: HTTPTransportError.Kind, expected: Verdict) async {
        let transport = FakeTransport([.failure(kind)])
        let result = await slack.deliver(delivery("hi", handle: Self.handle, adapter: slack), over: transport)
        #expect(Verdict(result) == expected)
        #expect(transport.requests.count == 1)
    }

    @Test("a lost reply is found by its key on any page, and known to be absent when it is on none")
    func reconcile() async throws {
        let other: JSONValue = ["ts": "1.3", "text": "hi", "metadata": ["event_type": "penstock_reply"]]
        let ours: JSONValue = [
            "ts": "1.4",
            "metadata": [
                "event_type": "penstock_reply", "event_payload": ["idempotency_key": "slack:T1/A1:C1/3/0/0"],
            ],
        ]
        let first: JSONValue = ["ok": true, "messages": [other], "response_metadata": ["next_cursor": "c=1"]]
        let found: JSONValue = ["ok": true, "messages": [ours], "response_metadata": ["next_cursor": ""]]
        let missing: JSONValue = ["ok": true, "messages": []]
        let reply = delivery("hi", handle: Self.handle, adapter: slack)
        let pages = { (page: JSONValue) in
            FakeTransport([first, page].map { .response(HTTPResponse(status: 200, body: $0.json)) })
        }

        let transport = pages(found)
        #expect(await slack.reconcile(reply, over: transport) == .confirmed(platformID: "1.4"))
        #expect(transport.requests[1].target.contains("cursor=c%3D1"))
        #expect(transport.requests[0].target.contains("/conversations.replies?channel=C1"))
        #expect(transport.requests[0].target.contains("oldest=1699999400.000000"))
        #expect(await slack.reconcile(reply, over: pages(missing)) == .absent)
        let denied = FakeTransport(200, ["ok": false, "error": "missing_scope"])
        #expect(Verdict(await slack.reconcile(reply, over: denied)) == .ambiguous)
    }

    @Test("a handle that is not ours, and a token that is not there, are said")
    func notPossible() async {
        let bad = await slack.deliver(delivery("hi", handle: "C1", adapter: slack), over: FakeTransport([]))
        #expect(Verdict(bad) == .failed("bad_handle"))
        let poor = Slack(
            settings: Slack.Settings(
                apiBase: "https://slack.example/api",
                signingSecrets: { [] },
                botTokens: { [] }
            ),
            chance: countingChance()
        )
        let transport = FakeTransport([])
        let result = await poor.deliver(delivery("hi", handle: Self.handle, adapter: poor), over: transport)
        #expect(Verdict(result) == .retry(.seconds(60), throttled: true))
        #expect(transport.requests.isEmpty)
    }
}

@Suite("WhatsApp: delivering")
struct WhatsAppDeliverTests {
    private static let handle = #"{"phone_number_id":"1001","to":"491701"}"#
    private let whatsApp = WhatsAppSupport.adapter()

    @Test("a text goes to the number, with the key that its statuses bring back")
    func send() async throws {
        let transport = FakeTransport(
            200,
            ["messaging_product": "whatsapp", "messages": [["id": "wamid.out"]]]
        )
        let result = await whatsApp.deliver(
            delivery("**hi**", handle: Self.handle, adapter: whatsApp),
            over: transport
        )
        #expect(result == .confirmed(platformID: "wamid.out"))
        let request = try #require(transport.requests.first)
        #expect(request.target == "https://graph.example/v26.0/1001/messages")
        #expect(request.fields["Authorization"] == "Bearer token-1")
        #expect(
            try JSONValue(json: request.body) == [
                "messaging_product": "whatsapp", "recipient_type": "individual", "to": "491701",
                "type": "text",
                "text": ["body": "*hi*", "preview_url": false],
                "biz_opaque_callback_data": "slack:T1/A1:C1/3/0/0",
            ]
        )
    }

    @Test("someone whose number is hidden is reached by the lasting id")
    func hidden() async throws {
        let transport = FakeTransport(200, ["messages": [["id": "wamid.out"]]])
        let handle = #"{"phone_number_id":"1001","recipient":"US.1349"}"#
        _ = await whatsApp.deliver(delivery("hi", handle: handle, adapter: whatsApp), over: transport)
        let body = try JSONValue(json: transport.requests[0].body)
        #expect(body["recipient"] == "US.1349")
        #expect(body["to"] == nil)
    }

    @Test(
        "the code decides, whatever the status",
        arguments: [
            (400, 131_047, .failed("131047")), (400, 131_026, .failed("131026")), (400, 100, .failed("100")),
            (400, 130_429, .retry(nil, throttled: true)),
            (400, 131_056, .retry(.seconds(6), throttled: true)),
            (400, 131_000, .retry(nil, throttled: false)),
            (400, 131_048, .retry(.seconds(3_600), throttled: false)),
            (401, 190, .retry(.seconds(60), throttled: true)), (500, 131_016, .retry(nil, throttled: false)),
            (500, 999_999, .retry(nil, throttled: false)), (400, 999_999, .failed("999999")),
            (503, nil, .retry(nil, throttled: false)), (429, nil, .retry(nil, throttled: true)),
            (404, nil, .failed("http_404")), (200, nil, .ambiguous),
        ] as [(Int, Int64?, Verdict)]
    )
    private func refusals(status: Int, code: Int64?, expected: Verdict) async {
        var body: [String: JSONValue] = [:]
        if let code { body = ["error": ["message": "m", "code": .integer(code)]] }
        let result = await whatsApp.deliver(
            delivery("hi", handle: Self.handle, adapter: whatsApp),
            over: FakeTransport(status, .object(body))
        )
        #expect(Verdict(result) == expected)
    }

    @Test("a lost answer is ambiguous, and WhatsApp cannot be asked about it")
    func lost() async {
        let reply = delivery("hi", handle: Self.handle, adapter: whatsApp)
        let result = await whatsApp.deliver(reply, over: FakeTransport([.failure(.interrupted)]))
        #expect(Verdict(result) == .ambiguous)
        #expect(Verdict(await whatsApp.reconcile(reply, over: FakeTransport([]))) == .ambiguous)
    }

    @Test("long replies are cut within the platforms' limits")
    func chunks() {
        var reply = Reply()
        reply.text = String(repeating: "Grüße & Küsse. ", count: 1_000)
        #expect(whatsApp.chunks(of: reply).allSatisfy { $0.utf16.count <= 4_096 })
        let slack = SlackSupport.adapter().chunks(of: reply)
        #expect(slack.allSatisfy { $0.utf16.count <= 4_000 })
        #expect(slack.count > 4)
    }
}
