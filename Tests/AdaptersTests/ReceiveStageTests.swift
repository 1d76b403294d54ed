import Adapters
import JSON
import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("Receive")
struct ReceiveStageTests {
    private let log = ListLog()

    private func stage(_ log: ListLog) -> ReceiveStage {
        ReceiveStage(
            adapters: [SlackSupport.adapter(), WhatsAppSupport.adapter()],
            log: log,
            topicPrefix: "penstock.",
            now: { someTime }
        )
    }

    @Test("an event is on the log before it is acknowledged, and the answer names it")
    func durable() async throws {
        let response = await stage(log).answer(
            SlackSupport.signed(SlackSupport.envelope(SlackSupport.message()))
        )

        let records = await log.all("penstock.events")
        let event = try InboundEvent(try #require(records.first))
        #expect(records.count == 1)
        #expect(response.status == 200)
        #expect(response.fields["Penstock-Delivery"] == "durable; id=\(event.id)")
        #expect(event.data.message?.text == "hi")
    }

    @Test("the same event four times is one record and four good answers with one id")
    func duplicates() async throws {
        let stage = stage(log)
        let request = SlackSupport.signed(SlackSupport.envelope(SlackSupport.message()))
        var answers: [String] = []
        for _ in 0..<4 { answers.append(await stage.answer(request).fields["Penstock-Delivery"] ?? "") }

        #expect(await log.all("penstock.events").count == 1)
        #expect(answers == ["durable; id=id-1"] + [String](repeating: "duplicate; id=id-1", count: 3))
    }

    @Test("message and app_mention at once leave one record at least and never a refusal")
    func concurrentPair() async throws {
        let stage = stage(log)
        for round in 0..<200 {
            let ts = JSONValue.string("1700000000.\(100_000 + round)")
            let more: [String: JSONValue] = ["text": "<@UBOT> hi", "ts": ts]
            var mention = more
            mention["type"] = "app_mention"
            let pair = [
                SlackSupport.signed(SlackSupport.envelope(SlackSupport.message(more), id: "Ev1")),
                SlackSupport.signed(SlackSupport.envelope(SlackSupport.message(mention), id: "Ev2")),
            ]
            await withTaskGroup(of: Int.self) { group in
                for request in pair { group.addTask { await stage.answer(request).status } }
                for await status in group { #expect(status == 200) }
            }
        }
        let keys = try await log.all("penstock.events").map { try InboundEvent($0).dedupekey }
        #expect(Set(keys).count == 200)
    }

    @Test("while the log does not accept, the sender is asked to come again, and then its event is taken")
    func unavailable() async throws {
        let stage = stage(log)
        let request = SlackSupport.signed(SlackSupport.envelope(SlackSupport.message()))
        await log.fail(with: EventLogError(.unavailable, "no leader"))

        let refused = await stage.answer(request)
        #expect(refused.status == 503)
        #expect(refused.fields["Retry-After"] == "5")
        #expect(refused.fields["X-Slack-No-Retry"] == nil)
        #expect(refused.fields["Penstock-Delivery"] == nil)

        await log.fail(with: nil)
        #expect(await stage.answer(request).fields["Penstock-Delivery"]?.hasPrefix("durable") == true)
        #expect(await log.all("penstock.events").count == 1)
    }

    @Test("a batch is appended whole, statuses as receipts under their conversation")
    func batch() async throws {
        let messages = (0..<9).map { WhatsAppSupport.text("m\($0)", id: "wamid.\($0)") }
        let statuses: [JSONValue] = [["id": "wamid.x", "status": "read", "recipient_id": "491701"]]
        let change = WhatsAppSupport.change(["messages": .array(messages), "statuses": .array(statuses)])

        let response = await stage(log).answer(WhatsAppSupport.signed(WhatsAppSupport.update([change])))

        let texts = try await log.all("penstock.events").map { try InboundEvent($0).data.message?.text }
        #expect(texts == (0..<9).map { "m\($0)" })
        let receipts = await log.all("penstock.receipts")
        #expect(receipts.map { String(decoding: $0.key, as: UTF8.self) } == ["whatsapp:1001:491701"])
        let ids = (1...9).map { "id-\($0)" }.joined(separator: ",")
        #expect(response.fields["Penstock-Delivery"] == "durable; id=\(ids); receipts=1")
    }

    @Test("the same message twice in one batch is one record")
    func twiceInABatch() async {
        let messages = [WhatsAppSupport.text("m", id: "wamid.1"), WhatsAppSupport.text("m", id: "wamid.1")]
        let change = WhatsAppSupport.change(["messages": .array(messages)])
        let response = await stage(log).answer(WhatsAppSupport.signed(WhatsAppSupport.update([change])))
        #expect(await log.all("penstock.events").count == 1)
        #expect(response.fields["Penstock-Delivery"] == "durable; id=id-1,id-1")
    }

    @Test(
        "what is too large for the log is refused alone, and shortened in a batch so that the others get in"
    )
    func tooLarge() async throws {
        let log = ListLog(recordBytesMax: 80_000)
        let long = String(repeating: "x", count: 100_000)
        let one = WhatsAppSupport.change(["messages": [WhatsAppSupport.text(long, id: "wamid.1")]])
        #expect(await stage(log).answer(WhatsAppSupport.signed(WhatsAppSupport.update([one]))).status == 413)
        #expect(await log.all("penstock.events").isEmpty)

        let both = WhatsAppSupport.change([
            "messages": [
                WhatsAppSupport.text(long, id: "wamid.1"), WhatsAppSupport.text("short", id: "wamid.2"),
            ]
        ])
        #expect(await stage(log).answer(WhatsAppSupport.signed(WhatsAppSupport.update([both]))).status == 200)
        let events = try await log.all("penstock.events").map { try InboundEvent($0) }
        #expect(events.map(\.data.message?.isTruncated) == [true, nil])
    }

    @Test("other paths are 404, other methods 405 with what is allowed, and what is refused leaves nothing")
    func routes() async {
        let stage = stage(log)
        #expect(await stage.answer(HTTPRequest(method: "POST", target: "/v1/nothing")).status == 404)
        let put = await stage.answer(HTTPRequest(method: "PUT", target: "/v1/whatsapp/webhook?x=1"))
        #expect(put.status == 405)
        #expect(put.fields["Allow"] == "GET, POST")
        let unsigned = HTTPRequest(method: "POST", target: "/v1/slack/events", body: Array("{}".utf8))
        #expect(await stage.answer(unsigned).status == 401)
        #expect(await stage.answer(SlackSupport.signed(Array("{".utf8))).status == 400)
        #expect(await log.all("penstock.events").isEmpty)
    }

    @Test("what is understood and left out is said")
    func ignored() async {
        let join: JSONValue = ["type": "team_join", "user": ["id": "U2"]]
        let response = await stage(log).answer(SlackSupport.signed(SlackSupport.envelope(join)))
        #expect(response.status == 200)
        #expect(response.fields["Penstock-Delivery"] == "ignored; reason=unsupported_event")
    }

    @Test("any mutation of a good request is answered, never a crash")
    func mutations() async {
        var random = SeededRandom.fromEnvironment()
        let stage = stage(ListLog())
        let slack = SlackSupport.envelope(
            SlackSupport.message(["subtype": "message_changed", "message": ["ts": "1.2"]])
        )
        let text = WhatsAppSupport.text("hi", id: "wamid.1")
        let whatsApp = WhatsAppSupport.update([
            WhatsAppSupport.change(["messages": [text], "statuses": [text]])
        ])
        for round in 0..<2_000 {
            var body = round % 2 == 0 ? slack : whatsApp
            for _ in 0..<Int.random(in: 1...4, using: &random) { random.mutate(&body) }
            let request = round % 2 == 0 ? SlackSupport.signed(body) : WhatsAppSupport.signed(body)
            let status = await stage.answer(request).status
            #expect(status == 200 || status == 400, "seed \(random.seed), round \(round)")
        }
    }
}

/// The same sequence for the same seed; `SEED=` in the environment chooses it.
struct SeededRandom: RandomNumberGenerator {
    let seed: UInt64
    private var base: SplitMix

    init(seed: UInt64) {
        self.seed = seed
        base = SplitMix(seed: seed)
    }

    mutating func next() -> UInt64 { base.next() }

    mutating func mutate(_ bytes: inout [UInt8]) {
        guard !bytes.isEmpty else { return }
        let index = Int.random(in: bytes.indices, using: &self)
        switch Int.random(in: 0..<4, using: &self) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &self)
        case 1: bytes.remove(at: index)
        case 2:
            bytes.insert(contentsOf: Array(#"":{}[],0null"#.utf8).shuffled(using: &self).prefix(3), at: index)
        default: bytes.removeSubrange(index..<min(index + 12, bytes.count))
        }
    }
}
