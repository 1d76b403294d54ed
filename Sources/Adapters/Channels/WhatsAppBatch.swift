import JSON
import Pipeline
import Topics

/// Everything that one webhook request brings. Each element stands alone: a bad one is kept as `unsupported`.
struct WhatsAppBatch {
    let now: Timestamp
    let chance: ChanceSource
    private var events: [InboundEvent] = []
    private var receipts: [Receipt] = []
    private var ignored: [String] = []

    init(now: Timestamp, chance: ChanceSource) {
        self.now = now
        self.chance = chance
    }

    var count: Int { events.count + receipts.count + ignored.count }

    var reception: Reception {
        Reception(events: events, receipts: receipts, ignored: ignored, response: .empty(200))
    }

    mutating func add(_ change: Payload, of entry: Payload) {
        let value = change["value"]
        let number = WhatsAppNumber(
            id: value["metadata"]["phone_number_id"].word ?? "unknown",
            business: entry["id"].word,
            display: value["metadata"]["display_phone_number"].word
        )
        switch change["field"].string {
        case "messages":
            let contacts = value["contacts"].elements
            for message in value["messages"].elements where count <= WhatsApp.elementsMax {
                let incoming = WhatsAppMessage(message, of: number, contacts: contacts, isEcho: false)
                events.append(incoming.event(at: now, chance: chance))
            }
            for status in value["statuses"].elements where count <= WhatsApp.elementsMax {
                if let receipt = self.receipt(status, of: number) {
                    receipts.append(receipt)
                } else {
                    ignored.append("incomplete_status")
                }
            }
            if !value["errors"].elements.isEmpty { ignored.append("account_errors") }
        case "smb_message_echoes":
            // Somebody answered from the phone: the agent must know it, and must not answer it.
            for message in value["message_echoes"].elements where count <= WhatsApp.elementsMax {
                let echo = WhatsAppMessage(message, of: number, contacts: [], isEcho: true)
                events.append(echo.event(at: now, chance: chance))
            }
        default:
            ignored.append("unsupported_field")
        }
    }

    /// A platform's status; nil when it names no message or no state.
    private func receipt(_ status: Payload, of number: WhatsAppNumber) -> Receipt? {
        guard let id = status["id"].word, let word = status["status"].word else { return nil }
        var receipt = Receipt()
        receipt.platform = "whatsapp"
        receipt.platformMessageID = id
        receipt.state =
            switch word {
            case "sent": .sent
            case "delivered": .delivered
            case "read", "played": .read
            case "failed": .failed
            default: .unknown
            }
        receipt.time = Timestamp(seconds: status["timestamp"]) ?? now
        let error = status["errors"].elements.first
        receipt.code = error?["code"].integer.map { "\($0)" }
        receipt.reason = error.flatMap {
            ($0["error_data"]["details"].word ?? $0["title"].word).map { String($0.prefix(512)) }
        }
        let person = status["recipient_user_id"].word ?? status["recipient_id"].word ?? "unknown"
        receipt.conversation = number.conversationKey(person)
        // Our own key comes back, and says best which reply it is.
        if let key = status["biz_opaque_callback_data"].word, let own = WhatsAppKey(key, of: number) {
            receipt.conversation = own.conversation
            receipt.replyID = own.replyID
            receipt.chunk = own.chunk
        }
        return receipt
    }
}

/// The business's side of a conversation.
struct WhatsAppNumber {
    let id: String
    let business: String?
    let display: String?

    func conversationKey(_ person: String) -> String {
        var data = EventData()
        data.platform = "whatsapp"
        data.account = EventAccount(id: id)
        data.conversation = EventConversation(id: person, kind: .direct)
        return data.conversationKey
    }
}

/// `conversation/turn/index/chunk`, as we sent it with a message.
struct WhatsAppKey {
    let conversation: String
    let replyID: String
    let chunk: Int

    init?(_ key: String, of number: WhatsAppNumber) {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 4, key.hasPrefix(number.conversationKey("")),
            let chunk = Int(strictly: parts[parts.count - 1])
        else { return nil }
        self.chunk = chunk
        replyID = parts.dropLast().joined(separator: "/")
        conversation = parts.dropLast(3).joined(separator: "/")
    }
}

extension Timestamp {
    /// Seconds as a number or, as WhatsApp writes them, a string.
    init?(seconds payload: Payload) {
        let seconds = payload.integer ?? payload.string.flatMap { Int64(strictly: $0) }
        guard let seconds, seconds >= 0, seconds < 253_402_300_800 else { return nil }
        self.init(milliseconds: seconds * 1_000)
    }
}
