import JSON
import Pipeline
import Topics

extension Slack {
    /// A slash command. Slack waits 3 s and never asks again, so the answer comes later as a message.
    func receiveCommand(
        _ request: HTTPRequest,
        at now: Timestamp
    ) throws(ReceiveError) -> Reception {
        let form = try form(of: request)
        if form["ssl_check"] == "1" { return Reception(ignored: ["ssl_check"], response: .empty(200)) }
        guard request.method == "POST" else {
            throw ReceiveError(.methodNotAllowed, "a command comes by POST")
        }
        var event = try command(form, at: now)
        event.data.ingress.deliveryID = form["trigger_id"]
        return Reception(events: [event], response: .empty(200))
    }

    private func command(_ form: FormBody, at now: Timestamp) throws(ReceiveError) -> InboundEvent {
        let command = try field("command", of: form)
        let channel = try field("channel_id", of: form)
        let user = try field("user_id", of: form)
        let app = try field("api_app_id", of: form)
        let trigger = try field("trigger_id", of: form)
        let isEnterprise = form["is_enterprise_install"] == "true"
        let team = try field(isEnterprise ? "enterprise_id" : "team_id", of: form)
        let name = String(command.drop { $0 == "/" })
        let arguments = SlackText(form["text"] ?? "", me: nil).text
        var message = EventMessage()
        message.id = trigger
        message.createdAt = now
        message.text = arguments.isEmpty ? "/\(name)" : "/\(name) \(arguments)"
        message.mentionsMe = true
        message.addressed = .direct
        var data = EventData()
        data.platform = platform
        data.account = EventAccount(id: "\(team)/\(app)")
        data.conversation = EventConversation(id: channel, kind: channel.hasPrefix("D") ? .direct : .channel)
        data.message = message
        data.command = EventCommand(name: name, arguments: arguments)
        data.sender = EventSender(id: user, kind: .human, display: form["user_name"], trust: .verified)
        data.reply = SlackHandle(channel: channel, thread: nil).reply
        data.ingress = EventIngress(adapter: platform, transport: "http", isVerified: true)
        return InboundEvent(
            id: chance.identifier(),
            type: .commandInvoked,
            time: now,
            recordedtime: now,
            dedupekey: "slack:\(team):\(trigger)",
            data: data
        )
    }

    /// Buttons and forms: said to be unsupported, so that Slack shows the person that nothing happened.
    func receiveInteraction(_ request: HTTPRequest) throws(ReceiveError) -> Reception {
        let form = try form(of: request)
        if form["ssl_check"] == "1" { return Reception(ignored: ["ssl_check"], response: .empty(200)) }
        guard request.method == "POST" else {
            throw ReceiveError(.methodNotAllowed, "an interaction comes by POST")
        }
        guard let payload = form["payload"], Payload(object: Array(payload.utf8)) != nil else {
            throw ReceiveError(.malformed, "payload is missing or not a JSON object")
        }
        return Reception(
            ignored: ["interactions_unsupported"],
            response: .error(501, "buttons, forms and shortcuts are not supported yet")
        )
    }

    private func form(of request: HTTPRequest) throws(ReceiveError) -> FormBody {
        let form = request.method == "GET" ? FormBody(queryOf: request.target) : FormBody(request.body)
        guard let form else { throw ReceiveError(.malformed, "the body is not a form") }
        return form
    }

    private func field(_ name: String, of form: FormBody) throws(ReceiveError) -> String {
        guard let value = form[name], !value.isEmpty, value.utf8.count <= 256 else {
            throw ReceiveError(.malformed, "\(name) is missing, empty or longer than 256 bytes")
        }
        return value
    }
}
