import Crypto
import JSON
package import Pipeline
package import Topics

/// The chat page that we serve: a message comes by POST, the answers go by `WebChatStream`.
package struct WebChat: ChannelAdapter {
    static let messages = "/v1/chat/messages"
    static let cookie = "penstock_session"
    static let textBytesMax = 32 * 1_024

    let hosts: HostGuard
    let chance: ChanceSource

    package init(hosts: HostGuard, chance: ChanceSource) {
        self.hosts = hosts
        self.chance = chance
    }

    package var platform: String { "web" }

    package var routes: [ChannelRoute] { [ChannelRoute(Self.messages, ["POST"])] }

    package func receive(
        _ request: HTTPRequest,
        at now: Timestamp
    ) throws(ReceiveError) -> Reception {
        try hosts.check(request)
        let session = try Self.session(of: request)
        // A form of another site can be sent with this type only after asking, and we never agree.
        guard request.mediaType == "application/json" else {
            throw ReceiveError(.unsupportedMediaType, "Content-Type must be application/json")
        }
        guard let body = Payload(object: request.body) else {
            throw ReceiveError(.malformed, "the body is not a JSON object")
        }
        guard let text = body["text"].string, text.utf8.count <= Self.textBytesMax,
            text.contains(where: { !$0.isWhitespace })
        else {
            throw ReceiveError(.malformed, "text must have 1 to \(Self.textBytesMax) bytes and not be blank")
        }
        guard let id = body["id"].word, id.utf8.count <= 64, id.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else {
            throw ReceiveError(.malformed, "id must have 1 to 64 printable ASCII characters")
        }
        let event = event(text, id: id, session: session, at: now)
        var reception = Reception(events: [event], response: .empty(202))
        // A repeat is told the first one's id: the answer will name that.
        reception.respond = { ids in .json(202, ["id": .string(ids.first ?? "")]) }
        return reception
    }

    private func event(_ text: String, id: String, session: String, at now: Timestamp) -> InboundEvent {
        var message = EventMessage()
        message.id = id
        message.createdAt = now
        message.text = text
        message.addressed = .direct
        var data = Self.address(of: session)
        data.message = message
        data.sender = EventSender(id: data.conversation.id, kind: .human, trust: .unverified)
        data.reply = EventReply(handle: data.conversation.id)
        data.ingress = EventIngress(adapter: platform, transport: "http", deliveryID: id, isVerified: true)
        return InboundEvent(
            id: chance.identifier(),
            type: .messageCreated,
            time: now,
            recordedtime: now,
            dedupekey: "web:\(data.conversation.id):\(id)",
            data: data
        )
    }

    package func chunks(of reply: Reply) -> [String] { [reply.text] }

    /// The page reads replies from the log: being there is being delivered.
    package func deliver(_ delivery: Delivery, over transport: any HTTPTransport) async -> DeliveryResult {
        .confirmed(platformID: delivery.reply.replyID)
    }

    package func reconcile(
        _ delivery: Delivery,
        over transport: any HTTPTransport
    ) async -> DeliveryResult {
        .confirmed(platformID: delivery.reply.replyID)
    }
}

// MARK: - Sessions

extension WebChat {
    /// The secret in the cookie. Whoever has it is in the conversation, so it appears nowhere else.
    static func session(of request: HTTPRequest) throws(ReceiveError) -> String {
        guard let session = cookie(of: request) else {
            throw ReceiveError(.unauthenticated, "the session cookie is missing; open the page first")
        }
        return session
    }

    static func cookie(of request: HTTPRequest) -> String? {
        for field in request.fields.values("Cookie") {
            for pair in field.split(separator: ";") {
                let pair = pair.drop { $0 == " " }
                guard pair.hasPrefix(cookie + "=") else { continue }
                let value = String(pair.dropFirst(cookie.count + 1))
                let isOurs =
                    (32...128).contains(value.utf8.count) && value.utf8.allSatisfy { hexDigit($0) != nil }
                if isOurs { return value }
            }
        }
        return nil
    }

    /// Names the conversation without telling the secret.
    static func address(of session: String) -> EventData {
        var data = EventData()
        data.platform = "web"
        data.account = EventAccount(id: "chat")
        let digest = SHA256.hex(Array("web:\(session)".utf8))
        data.conversation = EventConversation(id: String(digest.prefix(32)), kind: .direct)
        return data
    }
}
