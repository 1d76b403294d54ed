import Adapters
import JSON
import Pipeline
import Testing
import Topics

@Suite("Slack: what arrives")
struct SlackReceiveTests {
    @Test("a message becomes an event with everything that is needed to answer it")
    func message() throws {
        let event = try #require(try SlackSupport.receive(SlackSupport.message()).events.first)

        #expect(event.type == .messageCreated)
        #expect(event.dedupekey == "slack:T1:C1:1700000000.000100:m")
        #expect(event.partitionkey == "slack:T1/A1:C1")
        #expect(event.sessionkey == "slack:T1/A1:C1:1700000000.000100")
        #expect(event.time.rfc3339 == "2023-11-14T22:13:20.000Z")
        #expect(event.subject == "1700000000.000100")
        #expect(event.data.sender == EventSender(id: "U1", kind: .human, trust: .verified))
        #expect(event.data.message?.addressed == .ambient)
        #expect(event.data.ingress.deliveryID == "Ev1")
        #expect(event.data.reply?.handle == #"{"channel":"C1","thread_ts":"1700000000.000100"}"#)
    }

    @Test("message and app_mention of one mention are the same thing, whichever comes first")
    func mentionPair() throws {
        let text: [String: JSONValue] = ["text": "<@UBOT> hello &amp; welcome"]
        var mention = SlackSupport.message(text).objectValue ?? [:]
        mention["type"] = "app_mention"
        mention["channel_type"] = nil

        let first = try #require(try SlackSupport.receive(SlackSupport.message(text), id: "Ev1").events.first)
        let second = try #require(try SlackSupport.receive(.object(mention), id: "Ev2").events.first)

        #expect(first.dedupekey == second.dedupekey)
        #expect(first.partitionkey == second.partitionkey)
        #expect(first.data.message == second.data.message)
        #expect(first.data.message?.mentionsMe == true)
        #expect(first.data.message?.addressed == .mention)
        #expect(first.data.message?.text == "@UBOT hello & welcome")
        let mentions = [EventMention(id: "UBOT", offset: 0, length: 5, isMe: true)]
        #expect(first.data.message?.mentions == mentions)
        #expect(first.data.ingress.deliveryID != second.data.ingress.deliveryID)
    }

    @Test("a mention that only the blocks show is seen in both")
    func mentionInBlocks() throws {
        let blocks: JSONValue = [
            [
                "type": "rich_text",
                "elements": [
                    ["type": "rich_text_section", "elements": [["type": "user", "user_id": "UBOT"]]]
                ],
            ]
        ]
        let message = try #require(
            try SlackSupport.receive(SlackSupport.message(["blocks": blocks])).events.first
        )
        let mention = try #require(
            try SlackSupport.receive(SlackSupport.message(["blocks": blocks, "type": "app_mention"])).events
                .first
        )
        #expect(message.dedupekey == mention.dedupekey)
        #expect(message.data.message?.mentionsMe == true)
    }

    @Test("a mention that the text does not show is not hidden by the plain message")
    func mentionOfAnother() throws {
        let message = try #require(try SlackSupport.receive(SlackSupport.message()).events.first)
        let mention = try #require(
            try SlackSupport.receive(SlackSupport.message(["type": "app_mention"])).events.first
        )
        #expect(message.data.message?.mentionsMe == false)
        #expect(mention.data.message?.mentionsMe == true)
        #expect(mention.dedupekey == message.dedupekey + ":mention")
    }

    @Test("a repeated delivery is the same event; the retry headers are recorded and nothing else")
    func retries() throws {
        let body = SlackSupport.envelope(SlackSupport.message())
        var again = SlackSupport.signed(body)
        again.fields["X-Slack-Retry-Num"] = "2"
        again.fields["X-Slack-Retry-Reason"] = "http_timeout"

        let event = try #require(try SlackSupport.adapter().receive(again, at: someTime).events.first)

        #expect(event.dedupekey == "slack:T1:C1:1700000000.000100:m")
        #expect(event.data.ingress.attempt == 2)
        #expect(event.data.ingress.retryReason == "http_timeout")
        #expect(event.data.message?.text == "hi")
    }

    @Test(
        "an answer goes to the thread of the message; in a direct message only if there is one",
        arguments: [
            ("C1", nil, "1700000000.000100"), ("C1", "1699999999.000001", "1699999999.000001"),
            ("D1", nil, nil), ("D1", "1699999999.000001", "1699999999.000001"),
        ] as [(String, String?, String?)]
    )
    func threads(channel: String, root: String?, expected: String?) throws {
        var message = SlackSupport.message(["channel": .string(channel)]).objectValue ?? [:]
        message["channel_type"] = channel == "D1" ? "im" : "channel"
        message["thread_ts"] = root.map { .string($0) }

        let event = try #require(try SlackSupport.receive(.object(message)).events.first)

        #expect(event.data.thread?.id == expected)
        let handle = try JSONValue(json: Array((event.data.reply?.handle ?? "").utf8))
        #expect(handle["channel"] == .string(channel))
        #expect(handle["thread_ts"]?.stringValue == expected)
        #expect(event.data.message?.addressed == (channel == "D1" ? .direct : .ambient))
        #expect(event.partitionkey == "slack:T1/A1:\(channel)")
    }

    @Test("a reply in a thread that the agent began is addressed to it")
    func replyToMe() throws {
        let message = SlackSupport.message(["thread_ts": "1699999999.000001", "parent_user_id": "UBOT"])
        let event = try #require(try SlackSupport.receive(message).events.first)
        #expect(event.data.message?.addressed == .replyToMe)
    }

    @Test("the installation is the one that the authorization names, not the writer's team")
    func installation() throws {
        let connect: JSONValue = [
            ["team_id": "T2", "enterprise_id": "E1", "user_id": "UBOT", "is_bot": true]
        ]
        let event = try #require(
            try SlackSupport.receive(
                SlackSupport.message(),
                ["authorizations": connect, "is_ext_shared_channel": true]
            )
            .events.first
        )
        #expect(event.partitionkey == "slack:T2/A1:C1")
        #expect(event.data.conversation.isExternalShared == true)

        let whole: JSONValue = [
            [
                "team_id": nil, "enterprise_id": "E1", "user_id": "UBOT", "is_enterprise_install": true,
                "is_bot": true,
            ]
        ]
        let org = try #require(
            try SlackSupport.receive(SlackSupport.message(), ["authorizations": whole]).events.first
        )
        #expect(org.partitionkey == "slack:E1/A1:C1")
    }

    @Test(
        "what this app wrote itself is dropped, also when it is edited or deleted",
        arguments: [
            ["user": "UBOT"], ["bot_id": "B1", "app_id": "A1"],
            ["bot_id": "B1", "subtype": "bot_message", "bot_profile": ["app_id": "A1"]],
            [
                "subtype": "message_changed",
                "message": ["user": "UBOT", "ts": "1.0", "edited": ["ts": "2.0"]],
            ],
            [
                "subtype": "message_deleted", "deleted_ts": "1.0",
                "previous_message": ["user": "UBOT", "ts": "1.0"],
            ],
        ] as [[String: JSONValue]]
    )
    func ourselves(more: [String: JSONValue]) throws {
        let reception = try SlackSupport.receive(SlackSupport.message(more))
        #expect(reception.events.isEmpty)
        #expect(reception.ignored == ["self"])
        #expect(reception.response.status == 200)
    }

    @Test("another app's bot is a bot, Slack itself is the system")
    func otherSenders() throws {
        let bot = SlackSupport.message(["bot_id": "B9", "app_id": "A9", "user": nil, "username": "deploys"])
        let botEvent = try #require(try SlackSupport.receive(bot).events.first)
        #expect(
            botEvent.data.sender == EventSender(id: "B9", kind: .bot, display: "deploys", trust: .verified)
        )

        let slackbot = try #require(
            try SlackSupport.receive(SlackSupport.message(["user": "USLACK"])).events.first
        )
        #expect(slackbot.data.sender.kind == .system)
    }

    @Test("an edit by a person is an edit of that message; a link preview is nothing")
    func edits() throws {
        let before: JSONValue = ["user": "U1", "text": "helo", "ts": "1700000000.000100"]
        let after: JSONValue = [
            "user": "U1", "text": "hello", "ts": "1700000000.000100",
            "edited": ["user": "U1", "ts": "1700000007.000000"],
        ]
        let change: [String: JSONValue] = [
            "subtype": "message_changed", "hidden": true, "ts": "1700000007.000200", "text": nil, "user": nil,
            "previous_message": before, "message": after,
        ]
        let event = try #require(try SlackSupport.receive(SlackSupport.message(change)).events.first)
        #expect(event.type == .messageEdited)
        #expect(event.data.targetMessageID == "1700000000.000100")
        #expect(event.data.message?.text == "hello")
        #expect(event.data.message?.revision == 1)
        #expect(event.dedupekey == "slack:T1:C1:1700000000.000100:e:1700000007.000000")
        #expect(event.partitionkey == "slack:T1/A1:C1")

        var preview = change
        preview["message"] = ["user": "U1", "text": "helo", "ts": "1700000000.000100", "attachments": []]
        #expect(try SlackSupport.receive(SlackSupport.message(preview)).ignored == ["not_edited_by_a_person"])
        preview["message"] = [
            "user": "U1", "text": "helo", "ts": "1700000000.000100", "edited": ["ts": "1700000007.000000"],
        ]
        #expect(try SlackSupport.receive(SlackSupport.message(preview)).ignored == ["not_edited_by_a_person"])
    }

    @Test("a deleted message and a tombstone are the same deletion")
    func deletions() throws {
        let old: JSONValue = [
            "user": "U1", "text": "hi", "ts": "1700000000.000100", "thread_ts": "1699999999.000001",
        ]
        let deleted = try #require(
            try SlackSupport.receive(
                SlackSupport.message([
                    "subtype": "message_deleted", "deleted_ts": "1700000000.000100",
                    "ts": "1700000009.000100",
                    "previous_message": old,
                ])
            ).events.first
        )
        let tombstone = try #require(
            try SlackSupport.receive(
                SlackSupport.message([
                    "subtype": "message_changed", "ts": "1700000009.000100", "previous_message": old,
                    "message": ["subtype": "tombstone", "user": "USLACKBOT", "ts": "1700000000.000100"],
                ])
            ).events.first
        )
        #expect(deleted.type == .messageDeleted)
        #expect(deleted.data.targetMessageID == "1700000000.000100")
        #expect(deleted.data.thread?.id == "1699999999.000001")
        #expect(deleted.data.reply == nil)
        #expect(tombstone.dedupekey == deleted.dedupekey)
        #expect(tombstone.type == .messageDeleted)
    }

    @Test(
        "what is no message of somebody is told apart",
        arguments: [
            ("channel_join", EventType.membershipChanged), ("channel_topic", .channelLifecycle),
            ("ekm_access_denied", .unknown), ("thread_broadcast", .messageCreated),
            ("me_message", .messageCreated),
        ]
    )
    func subtypes(subtype: String, type: EventType) throws {
        let event = try #require(
            try SlackSupport.receive(SlackSupport.message(["subtype": .string(subtype)])).events.first
        )
        #expect(event.type == type)
    }

    @Test("a file without words is kept whole and not shown to the agent; with words it is a message")
    func files() throws {
        let files: JSONValue = [["id": "F1", "name": "a.png"]]
        let bare = SlackSupport.message(["subtype": "file_share", "text": "", "files": files])
        let event = try #require(try SlackSupport.receive(bare).events.first)
        #expect(event.type == .unknown)
        #expect(event.data.raw?.inline?.contains("F1") == true)
        #expect(event.dedupekey == "slack:T1:C1:1700000000.000100:m")

        let captioned = SlackSupport.message(["subtype": "file_share", "files": files])
        #expect(try SlackSupport.receive(captioned).events.first?.type == .messageCreated)
    }

    @Test("an event of another type is kept, and one without a channel is said to be ignored")
    func otherEvents() throws {
        let reaction = SlackSupport.message(["type": "reaction_added", "reaction": "eyes"])
        #expect(try SlackSupport.receive(reaction).events.first?.type == .unknown)
        let join: JSONValue = ["type": "team_join", "user": ["id": "U2"]]
        #expect(try SlackSupport.receive(join).ignored == ["unsupported_event"])
    }

    @Test("being rate limited by Slack is an event for the operator")
    func rateLimited() throws {
        let body: JSONValue = [
            "type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": 1_518_467_820,
            "api_app_id": "A1",
        ]
        let reception = try SlackSupport.adapter().receive(SlackSupport.signed(body.json), at: someTime)
        #expect(reception.events.first?.type == .channelLifecycle)
        #expect(reception.events.first?.dedupekey == "slack:T1:rate_limited:1518467820")
    }

    @Test(
        "mrkdwn is read as a person sees it",
        arguments: [
            ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
            ("<https://x.example/a?b=1&amp;c=2|docs>", "docs (https://x.example/a?b=1&c=2)"),
            ("<http://x.example|x.example>", "x.example"),
            ("<mailto:a@b.example|a@b.example>", "a@b.example"),
            ("<#C2|general> <!here> <!subteam^S1|@ops>", "#general @here @ops"),
            ("<!date^1392734382^{date}|Feb 18>", "Feb 18"), ("1 < 2", "1 < 2"), ("<", "<"), ("<>", ""),
            ("&", "&"),
        ]
    )
    func text(source: String, expected: String) throws {
        let event = try #require(
            try SlackSupport.receive(SlackSupport.message(["text": .string(source)])).events.first
        )
        #expect(event.data.message?.text == expected)
    }
}
