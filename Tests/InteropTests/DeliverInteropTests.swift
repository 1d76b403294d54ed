import Adapters
import Edge
import Foundation
import JSON
import Pipeline
import Testing
import Topics

@Suite("Delivering over real HTTP", .timeLimit(.minutes(5)))
struct DeliverInteropTests {
    private let transport = CurlTransport(transfersMax: 8, shards: 1, userAgent: "penstock-test")

    @Test("the fake Slack is one that slack_sdk can work with")
    func fakeSlack() async throws {
        let python = try await PythonEnvironment.python()
        try await withFake { base in
            let script = PythonEnvironment.scripts.appending(path: "fake_slack.py").path
            let outcome = try await PythonEnvironment.run(python, [script, base])
            #expect(outcome.status == 0)
            #expect(outcome.output == "ok\n")
        }
    }

    @Test("a reply reaches Slack's thread whole, in pieces that Slack takes")
    func slack() async throws {
        try await withFake { base in
            let slack = Channels.slack(base: base + "/api")
            let text = String(repeating: "A line & <more>.\n", count: 500)
            let reply = Self.reply(text, handle: #"{"channel":"C1","thread_ts":"1.2"}"#)
            let pieces = slack.chunks(of: reply)
            for (index, piece) in pieces.enumerated() {
                let delivery = Delivery(reply: reply, chunk: index, text: piece)
                guard case .confirmed = await slack.deliver(delivery, over: transport) else {
                    Issue.record("piece \(index) was not taken")
                    return
                }
            }
            let deliveries = try await control("deliveries", base)
            #expect(deliveries.arrayValue?.count == pieces.count)
            #expect(pieces.count == 4)
            let sent = deliveries.arrayValue?.compactMap { $0["text"]?.stringValue } ?? []
            let visible = sent.joined(separator: "\n").replacing("&lt;", with: "<").replacing(
                "&gt;",
                with: ">"
            )
            .replacing("&amp;", with: "&")
            let isWhole = visible.trimmingCharacters(in: .newlines) == text.trimmingCharacters(in: .newlines)
            #expect(isWhole)
            #expect(deliveries[0]?["request"]?["thread_ts"] == "1.2")
        }
    }

    @Test("a lost answer is ambiguous; asking Slack then finds the message if and only if it is there")
    func ambiguity() async throws {
        try await withFake { base in
            let slack = Channels.slack(base: base + "/api")
            for (fault, handle) in [
                ("lost", #"{"channel":"C1","thread_ts":"1.2"}"#),
                ("lost-after", #"{"channel":"C1","thread_ts":"1.2"}"#),
                ("lost", #"{"channel":"D1"}"#), ("lost-after", #"{"channel":"D1"}"#),
            ] {
                _ = try await control("reset", base, [])
                _ = try await control("faults", base, [.string(fault)])
                let delivery = Delivery(reply: Self.reply("hi", handle: handle), chunk: 0, text: "hi")
                guard case .ambiguous = await slack.deliver(delivery, over: transport) else {
                    Issue.record("\(fault) was not ambiguous")
                    continue
                }
                let count = try await control("deliveries", base).arrayValue?.count
                #expect(count == (fault == "lost" ? 0 : 1), "sent once, never again by itself")
                switch await slack.reconcile(delivery, over: transport) {
                case .absent: #expect(fault == "lost")
                case .confirmed(let id):
                    #expect(fault == "lost-after")
                    #expect(try await control("deliveries", base)[0]?["id"] == .string(id))
                case let other: Issue.record("\(fault): \(other)")
                }
            }
        }
    }

    @Test("being throttled, failing and refusing are told apart on the wire")
    func faults() async throws {
        try await withFake { base in
            let slack = Channels.slack(base: base + "/api")
            let delivery = Delivery(
                reply: Self.reply("hi", handle: #"{"channel":"C1"}"#),
                chunk: 0,
                text: "hi"
            )
            _ = try await control("faults", base, ["429:7", "503", "error:is_archived"])
            guard case .retry(.seconds(7), true, _) = await slack.deliver(delivery, over: transport),
                case .retry(nil, false, _) = await slack.deliver(delivery, over: transport),
                case .failed("is_archived", _) = await slack.deliver(delivery, over: transport),
                case .confirmed = await slack.deliver(delivery, over: transport)
            else {
                Issue.record("an answer was misread")
                return
            }
            #expect(try await control("deliveries", base).arrayValue?.count == 1)
        }
    }

    @Test("a text reaches WhatsApp, and its refusals go by their code")
    func whatsApp() async throws {
        try await withFake { base in
            let whatsApp = Channels.whatsApp(base: base + "/v26.0")
            let reply = Self.reply("**hi**", handle: #"{"phone_number_id":"1001","to":"491701"}"#)
            let delivery = Delivery(reply: reply, chunk: 0, text: whatsApp.chunks(of: reply)[0])
            _ = try await control("faults", base, ["error:131047", "error:131056", "500", "lost-after"])
            guard case .failed("131047", _) = await whatsApp.deliver(delivery, over: transport),
                case .retry(.seconds(6), true, _) = await whatsApp.deliver(delivery, over: transport),
                case .retry(nil, false, _) = await whatsApp.deliver(delivery, over: transport),
                case .ambiguous = await whatsApp.deliver(delivery, over: transport),
                case .confirmed(let id) = await whatsApp.deliver(delivery, over: transport)
            else {
                Issue.record("an answer was misread")
                return
            }
            let deliveries = try await control("deliveries", base)
            #expect(deliveries[1]?["id"] == .string(id))
            #expect(deliveries[1]?["text"] == "*hi*")
            #expect(deliveries[1]?["request"]?["biz_opaque_callback_data"] == "c/1/0/0")
        }
    }

    private static func reply(_ text: String, handle: String) -> Reply {
        var reply = Reply()
        reply.replyID = "c/1/0"
        reply.text = text
        reply.handle = handle
        reply.createdAt = Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000))
        return reply
    }

    private func withFake(_ body: (String) async throws -> Void) async throws {
        let fake = try await FakePlatforms()
        defer { fake.stop() }
        try await body(fake.base)
    }

    private func control(_ name: String, _ base: String, _ value: JSONValue? = nil) async throws -> JSONValue
    {
        let request = HTTPRequest(
            method: value == nil ? "GET" : "POST",
            target: "\(base)/_fake/\(name)",
            fields: ["Content-Type": "application/json"],
            body: value?.json ?? []
        )
        let limits = HTTPLimits(total: .seconds(20), silence: .seconds(20), bodyBytesMax: 1 << 20)
        return try JSONValue(json: try await transport.send(request, limits: limits).body)
    }
}
