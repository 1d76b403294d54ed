import Adapters
import Crypto
import JSON
import Pipeline
import Testing
import Topics

@Suite("CloudEvents in")
struct CloudEventsTests {
    private static let minimum: JSONValue = [
        "specversion": "1.0", "id": "42", "source": "/my/irc", "type": "message.created",
        "data": ["conversation": ["id": "#ops"], "sender": ["id": "bob"], "message": ["text": "hi"]],
    ]

    private static func adapter(
        tokens: [String] = ["secret-token"],
        secrets: [String] = [],
        admitsAnyone: Bool = false
    ) -> CloudEvents {
        let access = EventsAccess(
            tokens: { tokens },
            secrets: { secrets },
            admitsAnyone: admitsAnyone,
            hosts: HostGuard(names: [])
        )
        return CloudEvents(access: access, chance: countingChance())
    }

    private static func request(
        _ body: [UInt8],
        type: String = "application/cloudevents+json",
        _ fields: [(String, String)] = []
    ) -> HTTPRequest {
        var request = HTTPRequest(
            method: "POST",
            target: "/v1/events",
            fields: ["Content-Type": type, "Authorization": "Bearer secret-token", "Host": "localhost:8080"],
            body: body
        )
        for (name, value) in fields { request.fields[name] = value }
        return request
    }

    @Test("the shortest event there is gets everything else by itself")
    func minimumEvent() throws {
        let reception = try Self.adapter().receive(Self.request(Self.minimum.json), at: someTime)
        let event = try #require(reception.events.first)

        #expect(event.id == "id-1")
        #expect(event.dedupekey == "ce:/my/irc:42")
        #expect(event.partitionkey == "webhook:/my/irc:#ops")
        #expect(event.time == someTime)
        #expect(event.data.sender == EventSender(id: "bob", kind: .human))
        #expect(event.data.message?.id == "42")
        #expect(event.data.message?.addressed == .direct)
        #expect(event.data.conversation.kind == .direct)
        #expect(event.data.reply?.handle == "#ops")
        let answer = try JSONValue(json: try #require(reception.respond?(["id-7"])).body)
        #expect(answer == ["accepted": [["conversation": "webhook:/my/irc:#ops", "id": "id-7"]]])
    }

    @Test(
        "structured, plain JSON and binary requests are the same event",
        arguments: ["application/cloudevents+json; charset=utf-8", "application/json", "binary"]
    )
    func forms(form: String) throws {
        let request: HTTPRequest
        if form == "binary" {
            let attributes = [
                ("ce-specversion", "1.0"), ("CE-ID", "42"), ("ce-source", "/my/irc"),
                ("ce-type", "message.created"),
            ]
            request = Self.request(Self.minimum["data"]?.json ?? [], type: "application/json", attributes)
        } else {
            request = Self.request(Self.minimum.json, type: form)
        }
        let event = try #require(try Self.adapter().receive(request, at: someTime).events.first)
        #expect(event.dedupekey == "ce:/my/irc:42")
        #expect(event.data.message?.text == "hi")
    }

    @Test(
        "header values are decoded once, and quotes of the old form are taken off",
        arguments: [
            ("a%20%C3%A9%22%25", "a é\"%"), ("\"a \\\" b\"", "a \" b"), ("100%", "100%"), ("%2541", "%41"),
        ]
    )
    func headerValues(value: String, expected: String) throws {
        let attributes = [
            ("ce-specversion", "1.0"), ("ce-id", value), ("ce-source", "/s"), ("ce-type", "message.created"),
        ]
        let request = Self.request(Self.minimum["data"]?.json ?? [], type: "application/json", attributes)
        let event = try #require(try Self.adapter().receive(request, at: someTime).events.first)
        #expect(event.dedupekey == "ce:/s:\(expected)")
    }

    @Test("a batch is taken whole or not at all, and the bad element is named")
    func batch() throws {
        var second = Self.minimum.objectValue ?? [:]
        second["id"] = "43"
        let type = "application/cloudevents-batch+json"
        let good = JSONValue.array([Self.minimum, .object(second)])
        #expect(
            try Self.adapter().receive(Self.request(good.json, type: type), at: someTime).events.count == 2
        )

        second["data"] = ["conversation": ["id": "#ops"], "message": ["text": "hi"]]
        let bad = JSONValue.array([Self.minimum, .object(second)])
        #expect(refusal(Self.request(bad.json, type: type))?.detail.hasPrefix("[1].data.sender.id: ") == true)
        let many = JSONValue.array([JSONValue](repeating: Self.minimum, count: 101))
        #expect(refusal(Self.request(many.json, type: type))?.kind == .malformed)
        #expect(
            try Self.adapter().receive(Self.request(Array("[]".utf8), type: type), at: someTime).events
                .isEmpty
        )
    }

    @Test(
        "what is wrong is named",
        arguments: [
            ("specversion", nil), ("specversion", "0.3"), ("id", ""), ("source", nil),
            ("type", "message.create"),
            ("time", "yesterday"), ("id", "a\nb"), ("data", []), ("data", nil), ("data_base64", "aGk="),
            ("hop", "-1"),
        ] as [(String, JSONValue?)]
    )
    func attributes(name: String, value: JSONValue?) {
        var event = Self.minimum.objectValue ?? [:]
        event[name] = value
        let error = refusal(Self.request(JSONValue.object(event).json))
        #expect(error?.kind == .malformed)
        #expect(error?.detail.hasPrefix("\(name): ") == true, "\(error?.detail ?? "accepted")")
    }

    @Test(
        "what is wrong in the data is named with its path",
        arguments: [
            ("conversation", [:], "data.conversation.id"), ("conversation", nil, "data.conversation.id"),
            ("conversation", ["id": ""], "data.conversation.id"),
            ("conversation", ["id": 7], "data.conversation.id"),
            ("sender", "bob", "data.sender"), ("message", nil, "data.message.text"),
            ("message", ["text": 5], "data.message.text"), ("platform", "slack", "data.platform"),
            ("platform", "x-", "data.platform"), ("platform", "x-a:b", "data.platform"),
            ("platform", "web", "data.platform"),
        ] as [(String, JSONValue?, String)]
    )
    func data(name: String, value: JSONValue?, field: String) {
        var event = Self.minimum.objectValue ?? [:]
        var data = event["data"]?.objectValue ?? [:]
        data[name] = value
        event["data"] = .object(data)
        let error = refusal(Self.request(JSONValue.object(event).json))
        #expect(error?.kind == .malformed)
        #expect(error?.detail.hasPrefix("\(field): ") == true, "\(error?.detail ?? "accepted")")
    }

    @Test("nobody can make two conversations share a key, or speak for another platform")
    func keys() throws {
        var data = Self.minimum["data"]?.objectValue ?? [:]
        data["platform"] = "x-irc"
        data["account"] = ["id": "a:b"]
        data["conversation"] = ["id": "c"]
        var event = Self.minimum.objectValue ?? [:]
        event["data"] = .object(data)
        event["partitionkey"] = "slack:T1/A1:C1"
        event["sessionkey"] = "slack:T1/A1:C1"
        let received = try #require(
            try Self.adapter().receive(Self.request(JSONValue.object(event).json), at: someTime).events.first
        )
        #expect(received.partitionkey == "x-irc:a%3Ab:c")
        #expect(received.sessionkey == "x-irc:a%3Ab:c")
        #expect(received.data.ingress.isVerified)
    }

    @Test(
        "a request needs a JSON type: a page of another site can send any other unasked",
        arguments: ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", nil]
    )
    func types(type: String?) {
        var request = Self.request(Self.minimum.json)
        request.fields["Content-Type"] = type
        #expect(refusal(request)?.kind == .unsupportedMediaType)
    }

    @Test(
        "a token that is set is needed; without one only a server on loopback listens, and to no other site's page"
    )
    func tokens() throws {
        var request = Self.request(Self.minimum.json)
        request.fields["Authorization"] = "Bearer wrong"
        #expect(refusal(request)?.kind == .unauthenticated)
        request.fields["Authorization"] = nil
        #expect(refusal(request)?.kind == .unauthenticated)
        #expect(refusal(request, Self.adapter(tokens: []))?.kind == .unauthenticated)

        let open = Self.adapter(tokens: [], admitsAnyone: true)
        let event = try #require(try open.receive(request, at: someTime).events.first)
        #expect(!event.data.ingress.isVerified)
        request.fields["Origin"] = "https://evil.example"
        #expect(refusal(request, open)?.kind == .forbidden)
        request.fields["Origin"] = nil
        request.fields["Host"] = "rebound.example:8080"
        #expect(refusal(request, open)?.kind == .forbidden)
    }

    @Test("Standard Webhooks' own example of a signature is accepted, and a changed body is not")
    func standardWebhooks() throws {
        let adapter = Self.adapter(tokens: [], secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
        let time = Timestamp(milliseconds: 1_614_265_330_000)
        var request = Self.request(
            Array(#"{"test": 2432232314}"#.utf8),
            type: "application/json",
            [
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ]
        )
        request.fields["Authorization"] = nil
        #expect(refusal(request, adapter, at: time)?.detail == "type: missing or empty")
        request.body.append(0x20)
        #expect(refusal(request, adapter, at: time)?.kind == .unauthenticated)
        request.body.removeLast()
        #expect(refusal(request, adapter, at: someTime)?.kind == .unauthenticated)
    }

    @Test("the webhook handshake is answered, and gives a page of another site no rights")
    func handshake() throws {
        var request = Self.request([])
        request.method = "OPTIONS"
        request.fields["WebHook-Request-Origin"] = "eventemitter.example.com"
        let response = try Self.adapter().receive(request, at: someTime).response
        #expect(response.status == 200)
        #expect(response.fields["WebHook-Allowed-Origin"] == "eventemitter.example.com")
        #expect(response.fields["Access-Control-Allow-Origin"] == nil)
    }

    private func refusal(
        _ request: HTTPRequest,
        _ adapter: CloudEvents = CloudEventsTests.adapter(),
        at time: Timestamp = someTime
    ) -> ReceiveError? {
        do throws(ReceiveError) {
            _ = try adapter.receive(request, at: time)
            return nil
        } catch {
            return error
        }
    }
}
