import JSON
import Pipeline
import Topics

/// One `event_callback`, on its way to becoming an event.
struct SlackDelivery {
    let envelope: Payload
    let request: HTTPRequest
    let now: Timestamp
    let chance: ChanceSource

    var event: Payload { envelope["event"] }

    /// Which installation it was sent to: the authorization says so, the envelope's team may be the writer's.
    private var authorization: Payload { envelope["authorizations"].elements.first ?? Payload(nil) }

    var team: String? {
        if authorization["is_enterprise_install"].bool == true, let id = authorization["enterprise_id"].word {
            return id
        }
        return authorization["team_id"].word ?? envelope["context_team_id"].word ?? envelope["team_id"].word
    }

    /// Our own user; an authorization by a person names that person instead.
    private var me: String? { authorization["is_bot"].bool == false ? nil : authorization["user_id"].word }

    func reception() throws(ReceiveError) -> Reception {
        guard case .object = event.value, let type = event["type"].word else {
            throw ReceiveError(.malformed, "event or event.type is missing")
        }
        guard team != nil else { throw ReceiveError(.malformed, "team_id is missing") }
        switch type {
        case "message", "app_mention":
            return receiveMessage(isMention: type == "app_mention")
        default:
            guard event["channel"].word != nil else { return ignored("unsupported_event") }
            return appended(unsupported())
        }
    }

    private func receiveMessage(isMention: Bool) -> Reception {
        guard event["channel"].word != nil, let subject = subject, subject.ts != nil else {
            return ignored("incomplete_message")
        }
        if isOurs(subject.message) || isOurs(event) { return ignored("self") }
        switch event["subtype"].word {
        case nil, "file_share", "thread_broadcast", "me_message", "bot_message", "document_mention":
            return created(isMention: isMention)
        case "message_changed":
            return changed()
        case "message_deleted":
            return appended(deleted())
        case "channel_join", "channel_leave", "group_join", "group_leave":
            return appended(noticed(.membershipChanged))
        case "channel_topic", "channel_purpose", "channel_name", "channel_archive", "channel_unarchive",
            "group_topic", "group_purpose", "group_name", "group_archive", "group_unarchive":
            return appended(noticed(.channelLifecycle))
        default:
            return appended(unsupported())
        }
    }

    /// The message it is about and the message's own timestamp, which is its id in the channel.
    private var subject: (message: Payload, ts: String?)? {
        switch event["subtype"].word {
        case "message_changed": (event["message"], event["message"]["ts"].word)
        case "message_deleted":
            (event["previous_message"], event["deleted_ts"].word ?? event["previous_message"]["ts"].word)
        default: (event, event["ts"].word)
        }
    }

    /// Written by this app: answering it would be talking to ourselves.
    private func isOurs(_ message: Payload) -> Bool {
        if let me, message["user"].word == me { return true }
        guard let app = envelope["api_app_id"].word, isByBot(message) else { return false }
        return message["app_id"].word == app || message["bot_profile"]["app_id"].word == app
    }

    private func isByBot(_ message: Payload) -> Bool {
        message["bot_id"].word != nil || message["subtype"].word == "bot_message"
    }

    private func created(isMention: Bool) -> Reception {
        let ts = event["ts"].word ?? ""
        let text = SlackText(event["text"].string ?? "", me: me)
        let isNamed = me.map { names($0, in: event) } ?? false
        // Slack sends both `message` and `app_mention` for one mention, in any order: one key for both. Only
        // when the text does not show the mention would the plain one hide it, so that one gets a key of its
        // own.
        let suffix = isMention && !isNamed ? ":mention" : ""
        guard !text.text.isEmpty || event["files"].elements.isEmpty else {
            var event = unsupported()
            event.dedupekey = dedupekey(ts, "m")
            return appended(event)
        }
        var message = self.message(event, ts: ts, text: text)
        message.mentionsMe = isMention || isNamed
        message.addressed = addressed(message, event)
        var data = self.data(about: event, ts: ts)
        data.message = message
        return appended(make(.messageCreated, ts: ts, key: dedupekey(ts, "m" + suffix), data))
    }

    private func changed() -> Reception {
        let message = event["message"]
        let before = event["previous_message"]
        let ts = message["ts"].word ?? ""
        if message["subtype"].word == "tombstone" { return appended(deleted()) }
        guard let edited = message["edited"]["ts"].word else { return ignored("not_edited_by_a_person") }
        let isSame = ["text", "files", "blocks"].allSatisfy { message[$0].value == before[$0].value }
        if isSame, before.value != nil { return ignored("not_edited_by_a_person") }
        var written = self.message(message, ts: ts, text: SlackText(message["text"].string ?? "", me: me))
        written.revision = 1
        written.mentionsMe = me.map { names($0, in: message) } ?? false
        written.addressed = addressed(written, message)
        var data = self.data(about: message, ts: ts)
        data.message = written
        data.targetMessageID = ts
        return appended(make(.messageEdited, ts: edited, key: dedupekey(ts, "e:" + edited), data))
    }

    private func deleted() -> InboundEvent {
        let ts = subject?.ts ?? ""
        let gone = event["previous_message"].value == nil ? event["message"] : event["previous_message"]
        var data = self.data(about: gone, ts: ts)
        data.targetMessageID = ts
        data.reply = nil
        return make(.messageDeleted, ts: event["event_ts"].word ?? ts, key: dedupekey(ts, "d"), data)
    }

    private func noticed(_ type: EventType) -> InboundEvent {
        let ts = event["ts"].word ?? ""
        var data = self.data(about: event, ts: ts)
        data.thread = nil
        data.reply = nil
        return make(type, ts: ts, key: dedupekey(ts, "m"), data)
    }

    private func unsupported() -> InboundEvent {
        let ts = event["ts"].word ?? event["event_ts"].word ?? ""
        var data = self.data(about: event, ts: ts)
        data.raw = event.raw
        let id = envelope["event_id"].word ?? event.raw?.sha256 ?? ts
        var made = make(.unknown, ts: ts, key: "slack:\(team ?? ""):\(id)", data)
        made.subject = event["ts"].word
        return made
    }

    /// Slack stopped sending for a minute: somebody must know.
    func rateLimited() -> InboundEvent {
        var data = EventData()
        data.platform = "slack"
        data.account = account
        data.conversation = EventConversation(id: "app", kind: .unknown)
        data.sender = EventSender(id: "slack", kind: .system, trust: .verified)
        data.ingress = ingress
        data.raw = envelope.raw
        let minute = envelope["minute_rate_limited"].integer ?? now.milliseconds / 1_000
        let key = "slack:\(team ?? ""):rate_limited:\(minute)"
        return InboundEvent(
            id: chance.identifier(),
            type: .channelLifecycle,
            time: now,
            recordedtime: now,
            dedupekey: key,
            data: data
        )
    }
}

// MARK: - The parts of an event

extension SlackDelivery {
    var account: EventAccount {
        EventAccount(id: "\(team ?? "")/\(envelope["api_app_id"].word ?? "")")
    }

    private func message(_ source: Payload, ts: String, text: SlackText) -> EventMessage {
        var message = EventMessage()
        message.id = ts
        message.createdAt = Timestamp(slack: ts)
        message.text = text.text
        message.mentions = text.mentions
        if let root = source["thread_ts"].word, root != ts { message.replyToMessageID = root }
        return message
    }

    private func addressed(_ message: EventMessage, _ source: Payload) -> Addressed {
        if conversation.kind == .direct { return .direct }
        if message.mentionsMe { return .mention }
        if let me, source["parent_user_id"].word == me { return .replyToMe }
        return .ambient
    }

    private func data(about message: Payload, ts: String) -> EventData {
        let channel = event["channel"].word ?? ""
        var data = EventData()
        data.platform = "slack"
        data.account = account
        data.conversation = conversation
        // In a channel every message may root a thread, and there the answer goes. A direct message is
        // answered beneath it, unless its writer chose a thread.
        let root = message["thread_ts"].word
        let thread = conversation.kind == .direct ? root : root ?? (ts.isEmpty ? nil : ts)
        data.thread = thread.map { EventThread(id: $0, isRoot: $0 == ts) }
        data.sender = sender(of: message)
        data.reply = SlackHandle(channel: channel, thread: thread).reply
        data.ingress = ingress
        return data
    }

    private var conversation: EventConversation {
        let id = event["channel"].word ?? ""
        let kind: ConversationKind =
            switch event["channel_type"].word {
            case "im": .direct
            case "mpim": .group
            case .some: .channel
            // app_mention has no channel_type; a direct message is known by its id.
            case nil: id.hasPrefix("D") ? .direct : .channel
            }
        var conversation = EventConversation(id: id, kind: kind)
        conversation.isExternalShared = envelope["is_ext_shared_channel"].bool == true ? true : nil
        return conversation
    }

    private func sender(of message: Payload) -> EventSender {
        let user = message["user"].word
        let display = message["user_profile"]["display_name"].word ?? message["username"].word
        let kind: SenderKind =
            if user == "USLACK" {
                .system
            } else if isByBot(message) {
                .bot
            } else {
                user == nil ? .unknown : .human
            }
        return EventSender(
            id: user ?? message["bot_id"].word ?? "unknown",
            kind: kind,
            display: display,
            trust: .verified
        )
    }

    private var ingress: EventIngress {
        var ingress = EventIngress(
            adapter: "slack",
            transport: "http",
            deliveryID: envelope["event_id"].word,
            isVerified: true
        )
        // Recorded and nothing else: a repeat may be the only delivery that ever arrives.
        ingress.attempt = request.fields["X-Slack-Retry-Num"].flatMap { Int(strictly: $0) }
        ingress.retryReason = request.fields["X-Slack-Retry-Reason"].map { String($0.prefix(64)) }
        return ingress
    }

    private func dedupekey(_ ts: String, _ what: String) -> String {
        "slack:\(team ?? ""):\(event["channel"].word ?? ""):\(ts):\(what)"
    }

    private func make(_ type: EventType, ts: String, key: String, _ data: EventData) -> InboundEvent {
        InboundEvent(
            id: chance.identifier(),
            type: type,
            time: Timestamp(slack: ts) ?? now,
            recordedtime: now,
            dedupekey: key,
            data: data
        )
    }

    /// The text or the blocks mention the user.
    private func names(_ user: String, in message: Payload) -> Bool {
        let text = message["text"].string ?? ""
        if text.contains("<@\(user)>") || text.contains("<@\(user)|") { return true }
        return message["blocks"].contains(depthMax: 8) {
            $0["type"].string == "user" && $0["user_id"].string == user
        }
    }

    private func appended(_ event: InboundEvent) -> Reception {
        Reception(events: [event], response: .empty(200))
    }

    private func ignored(_ reason: String) -> Reception {
        Reception(ignored: [reason], response: .empty(200))
    }
}

extension Timestamp {
    /// Slack's ids of messages are also their times: `1700000000.123456`.
    init?(slack ts: String) {
        let halves = ts.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = halves.first, let seconds = Int64(strictly: first), seconds < 253_402_300_800 else {
            return nil
        }
        let fraction = halves.count > 1 ? halves[1].prefix(3) : ""
        let milliseconds = fraction.count == 3 ? Int64(strictly: fraction) ?? 0 : 0
        self.init(milliseconds: seconds * 1_000 + milliseconds)
    }
}
