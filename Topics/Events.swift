import JSON

package enum EventsTopic {
    package static let topic = Topic(
        name: "events",
        title: "Normalized inbound events, as CloudEvents 1.0 in Kafka's binary mode",
        cleanup: .delete,
        retention: .seconds(90 * 86_400),
        key: "conversation: platform:account:conversation",
        message: EventData.self
    )
}

/// What happened, without the reverse-domain prefix that it has on the wire (`EventType.prefix`).
package enum EventType: String, JSONOpenEnum {
    case messageCreated = "message.created"
    case messageEdited = "message.edited"
    case messageDeleted = "message.deleted"
    case messageAuto = "message.auto"
    case reactionAdded = "reaction.added"
    case reactionRemoved = "reaction.removed"
    case interactionSubmitted = "interaction.submitted"
    case commandInvoked = "command.invoked"
    case membershipChanged = "membership.changed"
    case identityChanged = "identity.changed"
    case deliveryReceipt = "delivery.receipt"
    case channelLifecycle = "channel.lifecycle"
    /// Kept on the log, never shown to the agent.
    case unknown = "unsupported"

    package static let prefix = "dev.penstock."

    /// From the `type` attribute; the prefix may be missing.
    package init(attribute: String) {
        let word = attribute.hasPrefix(Self.prefix) ? attribute.dropFirst(Self.prefix.count) : attribute[...]
        self = Self(rawValue: String(word)) ?? .unknown
    }

    package var attribute: String { Self.prefix + rawValue }
}

/// A CloudEvent: the attributes that travel as `ce_` headers, and the data that is the record's value.
package struct InboundEvent: Sendable, Hashable {
    /// UUIDv7 of this delivery; another delivery of the same thing has another id and the same `dedupekey`.
    package var id: String
    /// `/adapters/<platform>/<account>`
    package var source: String
    package var type: EventType
    /// The platform's id of the message.
    package var subject: String?
    /// When it happened, by the platform's clock.
    package var time: Timestamp
    /// The conversation's key, and the record's key.
    package var partitionkey: String
    /// The same for every delivery of the same thing, by any transport.
    package var dedupekey: String
    /// The conversation, or one thread of it.
    package var sessionkey: String
    /// When ingress received it.
    package var recordedtime: Timestamp
    package var expirytime: Timestamp?
    package var traceparent: String?
    /// How many agents this has passed through.
    package var hop: Int?
    package var data: EventData

    package init(
        id: String,
        type: EventType,
        time: Timestamp,
        recordedtime: Timestamp,
        dedupekey: String,
        data: EventData
    ) {
        self.id = id
        self.type = type
        self.time = time
        self.recordedtime = recordedtime
        self.dedupekey = dedupekey
        self.data = data
        source = "/adapters/\(data.platform)/\(data.account.id)"
        partitionkey = data.conversationKey
        sessionkey = data.thread.map { "\(data.conversationKey):\($0.id)" } ?? data.conversationKey
        subject = data.message?.id
    }
}

extension EventData {
    /// `platform:account:conversation`, the key of everything that concerns the conversation.
    ///
    /// A colon in the account's id (a URI may be one) is written `%3A`: two conversations never share a key.
    package var conversationKey: String {
        var account = account.id
        if account.utf8.contains(where: { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "%") }) {
            account = account.replacing("%", with: "%25").replacing(":", with: "%3A")
        }
        return "\(platform):\(account):\(conversation.id)"
    }
}
