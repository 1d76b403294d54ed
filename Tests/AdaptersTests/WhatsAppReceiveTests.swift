import Adapters
import Crypto
import JSON
import Pipeline
import Testing
import Topics

@Suite("WhatsApp: what arrives")
struct WhatsAppReceiveTests {
    @Test(
        "the verification request is answered with its challenge only for the right token",
        arguments: [("verify-me", nil), ("verify-m", .forbidden), ("", .forbidden)]
            as [(String, ReceiveError.Kind?)]
    )
    func subscribe(token: String, expected: ReceiveError.Kind?) throws {
        let target =
            "/v1/whatsapp/webhook?hub.mode=subscribe&hub.verify_token=\(token)&hub.challenge=1158201444"
        let request = HTTPRequest(method: "GET", target: target)
        do throws(ReceiveError) {
            let reception = try WhatsAppSupport.adapter().receive(request, at: someTime)
            #expect(reception.response.body == Array("1158201444".utf8))
            #expect(expected == nil)
        } catch {
            #expect(error.kind == expected)
        }
    }

    @Test("the raw bytes are signed: the same JSON written anew does not pass")
    func rawBytes() throws {
        let raw =
            Array(
                #"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"#
                    .utf8
            )
            + Array(
                #""messages":[{"from":"49","id":"w","type":"text","text":{"body":"caf\u00e9 \/ \ud83d\ude00"}}]}}]}]}"#
                    .utf8
            )
        var request = WhatsAppSupport.signed(raw)
        let reception = try WhatsAppSupport.adapter().receive(request, at: someTime)
        #expect(reception.events.first?.data.message?.text == "café / 😀")

        request.body = try JSONValue(json: raw).json
        #expect(refusal(of: request) == .unauthenticated)
    }

    @Test("no signature, a wrong one, or one under another secret is refused; the older secret still counts")
    func signatures() throws {
        let body = WhatsAppSupport.update([])
        #expect(refusal(of: WhatsAppSupport.signed(body, secret: "other")) == .unauthenticated)
        #expect(refusal(of: WhatsAppSupport.signed(body, secret: "older")) == nil)
        var bare = WhatsAppSupport.signed(body)
        bare.fields["X-Hub-Signature-256"] = nil
        #expect(refusal(of: bare) == .unauthenticated)
        bare.fields["X-Hub-Signature-256"] = "sha1=00"
        #expect(refusal(of: bare) == .unauthenticated)
        #expect(refusal(of: WhatsAppSupport.signed(Array("[]".utf8))) == .malformed)
    }

    @Test("every entry, change and message of a batch becomes an event, in order")
    func batch() throws {
        let entries: [JSONValue] = (0..<3).map { entry in
            let changes: [JSONValue] = (0..<3).map { change in
                let messages: [JSONValue] = (0..<3).map {
                    WhatsAppSupport.text("m", id: "wamid.\(entry)\(change)\($0)")
                }
                return WhatsAppSupport.change(["messages": .array(messages)])
            }
            return ["id": .string("WABA\(entry)"), "changes": .array(changes)]
        }
        let body = JSONValue.object(["object": "whatsapp_business_account", "entry": .array(entries)]).json

        let events = try WhatsAppSupport.adapter().receive(WhatsAppSupport.signed(body), at: someTime).events

        let expected = (0..<27).map { "wa:wamid.\($0 / 9)\($0 / 3 % 3)\($0 % 3)" }
        #expect(events.map(\.dedupekey) == expected)
        #expect(Set(events.map(\.id)).count == 27)
    }

    @Test("one bad element never costs the others")
    func isolation() throws {
        let messages: [JSONValue] = [
            nil, "text", 7, [:], ["id": 5],
            ["id": "wamid.x", "type": "text", "text": "not an object", "from": "49"],
            WhatsAppSupport.text("good", id: "wamid.good"),
            ["id": "wamid.y", "type": "interactive", "from": "49"],
        ]
        let statuses: [JSONValue] = [
            nil, ["id": "wamid.s"], ["id": "wamid.s", "status": "delivered", "errors": 4],
        ]
        let reception = try WhatsAppSupport.receive([
            "messages": .array(messages), "statuses": .array(statuses),
        ])

        #expect(reception.events.count == messages.count)
        #expect(reception.events.filter { $0.type == .messageCreated }.map(\.dedupekey) == ["wa:wamid.good"])
        #expect(reception.events.filter { $0.type == .unknown }.allSatisfy { $0.data.raw != nil })
        #expect(reception.receipts.map(\.state) == [.delivered])
        #expect(reception.ignored == ["incomplete_status", "incomplete_status"])
    }

    @Test("a text message becomes an event with everything that is needed to answer it in time")
    func text() throws {
        let contact: JSONValue = ["profile": ["name": "Ann"], "wa_id": "491701"]
        let message = WhatsAppSupport.text(
            "hi",
            id: "wamid.1",
            ["context": ["from": "15550100", "id": "wamid.0"]]
        )
        let event = try #require(
            try WhatsAppSupport.receive(["messages": [message], "contacts": [["wa_id": "1"], contact]]).events
                .first
        )
        #expect(event.partitionkey == "whatsapp:1001:491701")
        #expect(event.sessionkey == event.partitionkey)
        #expect(
            event.data.sender == EventSender(id: "491701", kind: .human, display: "Ann", trust: .verified)
        )
        #expect(event.data.message?.replyToMessageID == "wamid.0")
        #expect(event.data.message?.addressed == .direct)
        #expect(event.time == someTime)
        #expect(event.data.reply?.windowClosesAt?.rfc3339 == "2023-11-15T22:13:20.000Z")
        #expect(event.data.reply?.handle == #"{"phone_number_id":"1001","to":"491701"}"#)
    }

    @Test("the conversation is the person's lasting id where there is one, with or without the number")
    func identity() throws {
        let both = WhatsAppSupport.text("hi", id: "wamid.1", ["from_user_id": "US.1349"])
        var hidden = WhatsAppSupport.text("hi", id: "wamid.2", ["from_user_id": "US.1349"]).objectValue ?? [:]
        hidden["from"] = nil
        let byContact = WhatsAppSupport.text("hi", id: "wamid.3")
        let events = try WhatsAppSupport.receive([
            "messages": [both, .object(hidden), byContact],
            "contacts": [["wa_id": "491701", "user_id": "US.1349", "profile": ["name": "Ann"]]],
        ]).events
        #expect(Set(events.map(\.partitionkey)) == ["whatsapp:1001:US.1349"])
        #expect(events[1].data.reply?.handle == #"{"phone_number_id":"1001","recipient":"US.1349"}"#)
        #expect(events.allSatisfy { $0.data.sender.display == "Ann" })
    }

    @Test("statuses become receipts; ours are known again by their key")
    func statuses() throws {
        let failure: JSONValue = [
            "id": "wamid.9", "status": "failed", "timestamp": "1700000001", "recipient_id": "491701",
            "errors": [["code": 131_047, "title": "Re-engagement message"]],
        ]
        let own: JSONValue = [
            "id": "wamid.8", "status": "read", "timestamp": "1700000001", "recipient_id": "491701",
            "biz_opaque_callback_data": "whatsapp:1001:US.1349/12/0/1",
        ]
        let foreign: JSONValue = [
            "id": "wamid.7", "status": "sent", "recipient_id": "491701",
            "biz_opaque_callback_data": "slack:T1/A1:C1/1/0/0",
        ]
        let receipts = try WhatsAppSupport.receive(["statuses": [failure, own, foreign]]).receipts

        #expect(receipts.map(\.state) == [.failed, .read, .sent])
        #expect(receipts[0].code == "131047")
        #expect(receipts[0].conversation == "whatsapp:1001:491701")
        #expect(receipts[1].conversation == "whatsapp:1001:US.1349")
        #expect(receipts[1].replyID == "whatsapp:1001:US.1349/12/0")
        #expect(receipts[1].chunk == 1)
        #expect(receipts[2].replyID == nil)
        #expect(receipts[2].conversation == "whatsapp:1001:491701")
    }

    @Test("what a colleague typed on the phone is theirs, and nobody is asked to answer it")
    func echoes() throws {
        let echo: JSONValue = [
            "from": "15550100", "to": "491701", "id": "wamid.e", "timestamp": "1700000000", "type": "text",
            "text": ["body": "I'll take this one"],
        ]
        let event = try #require(
            try WhatsAppSupport.receive(["message_echoes": [echo]], field: "smb_message_echoes").events.first
        )
        #expect(event.data.sender.kind == .humanAgent)
        #expect(event.partitionkey == "whatsapp:1001:491701")
        #expect(event.data.reply == nil)
    }

    @Test(
        "what is not text is kept whole and not shown to the agent",
        arguments: [
            "image", "audio", "reaction", "interactive", "button", "location", "order", "unsupported", "new",
        ]
    )
    func otherTypes(type: String) throws {
        let message: JSONValue = [
            "from": "491701", "id": "wamid.1", "timestamp": "1700000000", "type": .string(type),
        ]
        let event = try #require(try WhatsAppSupport.receive(["messages": [message]]).events.first)
        #expect(event.type == .unknown)
        #expect(event.data.raw?.inline == String(decoding: message.json, as: UTF8.self))
        #expect(event.data.message == nil)
    }

    @Test("edits and withdrawals name the message that they change")
    func edits() throws {
        let edit: JSONValue = [
            "from": "491701", "id": "wamid.2", "type": "edit",
            "edit": [
                "original_message_id": "wamid.1", "message": ["type": "text", "text": ["body": "hello"]],
            ],
        ]
        let revoke: JSONValue = [
            "from": "491701", "id": "wamid.3", "type": "revoke", "revoke": ["original_message_id": "wamid.1"],
        ]
        let events = try WhatsAppSupport.receive(["messages": [edit, revoke]]).events
        #expect(events.map(\.type) == [.messageEdited, .messageDeleted])
        #expect(events.map(\.data.targetMessageID) == ["wamid.1", "wamid.1"])
        #expect(events[0].data.message?.text == "hello")
    }

    @Test("half an emoji in one place does not keep the batch out")
    func halfCharacters() throws {
        let good = String(
            decoding: WhatsAppSupport.text("ok \u{1F600} \\ud83d", id: "wamid.2").json,
            as: UTF8.self
        )
        let update = String(
            decoding: WhatsAppSupport.update([WhatsAppSupport.change(["messages": ["HERE"]])]),
            as: UTF8.self
        )
        let half =
            #"{"from":"49","id":"wamid.1","type":"text","text":{"body":"a\ud83d \ude00\ud83d\ude00 \\ud83d"}}"#
        let body = update.replacing("\"HERE\"", with: half + "," + good)

        let events = try WhatsAppSupport.adapter().receive(
            WhatsAppSupport.signed(Array(body.utf8)),
            at: someTime
        ).events

        #expect(
            events.map(\.data.message?.text) == [
                "a\u{FFFD} \u{FFFD}\u{1F600} \\ud83d", "ok \u{1F600} \\ud83d",
            ]
        )
    }

    @Test("a batch beyond the limit is refused, not half taken")
    func limit() throws {
        let messages = [JSONValue](repeating: [:], count: 4_097)
        let body = WhatsAppSupport.update([WhatsAppSupport.change(["messages": .array(messages)])])
        #expect(refusal(of: WhatsAppSupport.signed(body)) == .malformed)
    }

    private func refusal(of request: HTTPRequest) -> ReceiveError.Kind? {
        do throws(ReceiveError) {
            _ = try WhatsAppSupport.adapter().receive(request, at: someTime)
            return nil
        } catch {
            return error.kind
        }
    }
}
