import JSON
import Pipeline
import Topics

/// One element of `messages[]` or `message_echoes[]`.
struct WhatsAppMessage {
    private let source: Payload
    private let number: WhatsAppNumber
    private let contacts: [Payload]
    /// Sent by the business itself from another device.
    private let isEcho: Bool

    init(_ source: Payload, of number: WhatsAppNumber, contacts: [Payload], isEcho: Bool) {
        self.source = source
        self.number = number
        self.contacts = contacts
        self.isEcho = isEcho
    }

    private static let window: Duration = .seconds(24 * 3_600)

    func event(at now: Timestamp, chance: ChanceSource) -> InboundEvent {
        let time = Timestamp(seconds: source["timestamp"]) ?? now
        var data = common(at: time)
        let type = fill(&data, at: time)
        if type == .unknown || type == .identityChanged { data.raw = source.raw }
        var event = InboundEvent(
            id: chance.identifier(),
            type: type,
            time: time,
            recordedtime: now,
            dedupekey: "wa:" + (id ?? "sha256:" + (source.raw?.sha256 ?? "")),
            data: data
        )
        event.subject = id
        return event
    }

    private var id: String? { source["id"].word }

    /// The person: by the id that stays when the number is hidden, else by the number.
    private var person: (id: String, phone: String?, user: String?)? {
        let phone = isEcho ? source["to"].word : source["from"].word
        let contact = contacts.first { contact in
            if let phone, contact["wa_id"].string == phone { return true }
            return source["from_user_id"].word.map { contact["user_id"].string == $0 } ?? false
        }
        let user =
            isEcho ? source["to_user_id"].word : source["from_user_id"].word ?? contact?["user_id"].word
        guard let id = user ?? phone else { return nil }
        return (id, phone, user)
    }

    private var display: String? {
        guard let person else { return nil }
        let contact = contacts.first { contact in
            if let phone = person.phone, contact["wa_id"].string == phone { return true }
            return person.user.map { contact["user_id"].string == $0 } ?? false
        }
        return contact?["profile"]["name"].word
    }

    private func common(at time: Timestamp) -> EventData {
        let group = source["group_id"].word
        var data = EventData()
        data.platform = "whatsapp"
        data.account = EventAccount(id: number.id, tenant: number.business, display: number.display)
        data.conversation = EventConversation(
            id: group ?? person?.id ?? "unknown",
            kind: group == nil ? .direct : .group
        )
        data.sender =
            isEcho
            ? EventSender(id: number.id, kind: .humanAgent, trust: .verified)
            : EventSender(id: person?.id ?? "unknown", kind: .human, display: display, trust: .verified)
        if !isEcho, let person, number.id != "unknown" {
            let handle = WhatsAppHandle(
                number: number.id,
                phone: person.phone,
                user: person.user,
                group: group
            )
            data.reply = EventReply(
                handle: handle.text,
                charactersMax: WhatsApp.charactersMax,
                windowClosesAt: time + Self.window
            )
        }
        data.ingress = EventIngress(adapter: "whatsapp", transport: "http", deliveryID: id, isVerified: true)
        return data
    }

    /// Adds what the message says; the event's type.
    private func fill(_ data: inout EventData, at time: Timestamp) -> EventType {
        guard id != nil, person != nil else { return .unknown }
        switch source["type"].string {
        case "text":
            guard let text = source["text"]["body"].string else { return .unknown }
            data.message = message(text, at: time, in: data)
            return .messageCreated
        case "edit":
            let edited = source["edit"]["message"]
            guard let target = source["edit"]["original_message_id"].word,
                let text = edited["text"]["body"].string
            else { return .unknown }
            var message = message(text, at: time, in: data)
            message.id = target
            message.revision = 1
            data.message = message
            data.targetMessageID = target
            return .messageEdited
        case "revoke":
            guard let target = source["revoke"]["original_message_id"].word else { return .unknown }
            data.targetMessageID = target
            data.reply = nil
            return .messageDeleted
        case "system":
            data.reply = nil
            return .identityChanged
        default:
            return .unknown
        }
    }

    private func message(_ text: String, at time: Timestamp, in data: EventData) -> EventMessage {
        var message = EventMessage()
        message.id = id ?? ""
        message.createdAt = time
        message.text = text
        message.replyToMessageID = source["context"]["id"].word
        let answersUs = source["context"]["from"].word.map { Self.isSame($0, number.display) } ?? false
        message.addressed =
            if isEcho {
                .ambient
            } else if data.conversation.kind == .direct {
                .direct
            } else {
                answersUs ? .replyToMe : .ambient
            }
        return message
    }

    /// Numbers are written with and without a plus and spaces.
    private static func isSame(_ left: String, _ right: String?) -> Bool {
        let digits = { (text: String) in text.utf8.filter { (0x30...0x39).contains($0) } }
        guard let right else { return false }
        return digits(left) == digits(right) && !digits(left).isEmpty
    }
}

/// Where an answer goes: `reply.handle`, as JSON.
struct WhatsAppHandle {
    let number: String
    let phone: String?
    let user: String?
    let group: String?

    init(number: String, phone: String?, user: String?, group: String?) {
        self.number = number
        self.phone = phone
        self.user = user
        self.group = group
    }

    /// Nil when it is not a handle of ours.
    init?(_ handle: String) {
        guard let payload = Payload(object: Array(handle.utf8)), let number = payload["phone_number_id"].word,
            number.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        self.init(
            number: number,
            phone: payload["to"].word,
            user: payload["recipient"].word,
            group: payload["group"].word
        )
        guard phone != nil || user != nil || group != nil else { return nil }
    }

    var text: String {
        var members: [String: JSONValue] = ["phone_number_id": .string(number)]
        members["group"] = group.map { .string($0) }
        members["recipient"] = user.map { .string($0) }
        members["to"] = phone.map { .string($0) }
        return JSONValue.object(members).text
    }
}
