package import JSON

/// The data of an event: one shape for every platform.
package struct EventData: TopicMessage {
    package static let schemaName = "event"
    package static let schemaVersion = "1.0"

    package var platform = ""
    package var account = EventAccount()
    package var conversation = EventConversation()
    package var thread: EventThread?
    package var message: EventMessage?
    package var command: EventCommand?
    package var sender = EventSender()
    package var targetMessageID: String?
    package var reply: EventReply?
    package var raw: EventRaw?
    package var ingress = EventIngress()

    package init() {}

    package static let fields = JSONFields<EventData>(
        title: "Event",
        doc: "Something that happened in a conversation, in one shape for every platform.",
        [
            .required("platform", \.platform, "slack, whatsapp, email, web, webhook, or x-… of your own."),
            .required(
                "account",
                \.account,
                "Who the conversation is with on our side: workspace, number, mailbox."
            ),
            .required("conversation", \.conversation, "Where it happened: a channel, a chat, a mail thread."),
            .optional(
                "thread",
                \.thread,
                "The thread within the conversation, where the platform has threads."
            ),
            .optional(
                "message",
                \.message,
                "The message; present for message.* types, and for a command as its text."
            ),
            .optional("command", \.command, "The command; present for command.invoked."),
            .required("sender", \.sender, "Who did it."),
            .optional(
                "target_message_id",
                \.targetMessageID,
                "The message that was edited, deleted or reacted to."
            ),
            .optional("reply", \.reply, "How to answer; absent when nobody can."),
            .optional("raw", \.raw, "What the platform sent; kept for what is not understood."),
            .defaulted("ingress", \.ingress, "How it reached us."),
        ]
    )
}

package struct EventAccount: JSONObjectCoded, Hashable {
    package var id = ""
    package var tenant: String?
    package var display: String?

    package init() {}

    package init(id: String, tenant: String? = nil, display: String? = nil) {
        self.id = id
        self.tenant = tenant
        self.display = display
    }

    package static let fields = JSONFields<EventAccount>(
        title: "Account",
        doc: "Our side of a conversation.",
        [
            .required("id", \.id, "Workspace and app, phone number id, mailbox or bot id."),
            .optional("tenant", \.tenant, "The organisation above it, where the platform has one."),
            .optional("display", \.display, "A name for people."),
        ]
    )
}

package enum ConversationKind: String, JSONOpenEnum {
    case direct = "dm"
    case group
    case channel
    case mailThread = "thread_mail"
    case room
    case unknown
}

package struct EventConversation: JSONObjectCoded, Hashable {
    package var id = ""
    package var kind = ConversationKind.unknown
    package var name: String?
    package var isExternalShared: Bool?

    package init() {}

    package init(id: String, kind: ConversationKind, name: String? = nil) {
        self.id = id
        self.kind = kind
        self.name = name
    }

    package static let fields = JSONFields<EventConversation>(
        title: "Conversation",
        doc: "Where an event happened.",
        [
            .required("id", \.id, "The platform's id."),
            .defaulted("kind", \.kind, "What it is."),
            .optional("name", \.name, "A name for people."),
            .optional("external_shared", \.isExternalShared, "Shared with another organisation."),
        ]
    )
}

package struct EventThread: JSONObjectCoded, Hashable {
    package var id = ""
    package var isRoot: Bool?

    package init() {}

    package init(id: String, isRoot: Bool) {
        self.id = id
        self.isRoot = isRoot
    }

    package static let fields = JSONFields<EventThread>(
        title: "Thread",
        doc: "A thread within a conversation.",
        [
            .required("id", \.id, "The platform's id of the thread, often that of its first message."),
            .optional("is_root", \.isRoot, "This message starts the thread."),
        ]
    )
}

package enum TextFormat: String, JSONOpenEnum {
    case plain
    case markdown
    case unknown
}

package enum Addressed: String, JSONOpenEnum {
    case direct
    case mention
    case replyToMe = "reply_to_me"
    case ambient
    case unknown
}

package struct EventMessage: JSONObjectCoded, Hashable {
    package var id = ""
    package var revision = 0
    package var createdAt: Timestamp?
    package var text = ""
    package var format = TextFormat.plain
    package var mentions: [EventMention] = []
    package var mentionsMe = false
    package var addressed = Addressed.unknown
    package var replyToMessageID: String?
    package var isTruncated: Bool?

    package init() {}

    package static let fields = JSONFields<EventMessage>(
        title: "Message",
        doc: "A message as its writer meant it.",
        [
            .required("id", \.id, "The platform's id."),
            .defaulted("revision", \.revision, "0 for the original, then one more with each edit."),
            .optional("created_at", \.createdAt, "When it was written, by the platform's clock."),
            .required("text", \.text, "What it says, as plain text; may be empty."),
            .defaulted("format", \.format, "How the text is marked up."),
            .defaulted("mentions", \.mentions, "Who is named in the text, and where."),
            .defaulted("mentions_me", \.mentionsMe, "It names the agent."),
            .defaulted("addressed", \.addressed, "How it is directed at the agent, if at all."),
            .optional("reply_to_message_id", \.replyToMessageID, "The message it answers."),
            .optional("truncated", \.isTruncated, "The text was longer than the limit and was cut."),
        ]
    )
}

package struct EventMention: JSONObjectCoded, Hashable {
    package var id = ""
    package var offset = 0
    package var length = 0
    package var isMe = false

    package init() {}

    package init(id: String, offset: Int, length: Int, isMe: Bool) {
        self.id = id
        self.offset = offset
        self.length = length
        self.isMe = isMe
    }

    package static let fields = JSONFields<EventMention>(
        title: "Mention",
        doc: "A place in the text that names somebody.",
        [
            .required("id", \.id, "The platform's id of who is named."),
            .required("offset", \.offset, "Where it begins in the text, in bytes of UTF-8."),
            .required("length", \.length, "How long it is, in bytes of UTF-8."),
            .defaulted("is_me", \.isMe, "It names the agent."),
        ]
    )
}

package struct EventCommand: JSONObjectCoded, Hashable {
    package var name = ""
    package var arguments = ""

    package init() {}

    package init(name: String, arguments: String) {
        self.name = name
        self.arguments = arguments
    }

    package static let fields = JSONFields<EventCommand>(
        title: "Command",
        doc: "A command that the platform parsed.",
        [
            .required("name", \.name, "Its name, without the slash."),
            .required("args", \.arguments, "What follows the name."),
        ]
    )
}

/// What the platform sent, for an event that we do not understand yet.
package struct EventRaw: JSONObjectCoded, Hashable {
    /// Longer ones are not kept; their hash and size are.
    package static let inlineBytesMax = 32 * 1_024

    package var sha256 = ""
    package var size = 0
    package var inline: String?

    package init() {}

    package init(sha256: String, size: Int, inline: String?) {
        self.sha256 = sha256
        self.size = size
        self.inline = inline
    }

    package static let fields = JSONFields<EventRaw>(
        title: "Raw",
        doc: "What the platform sent, as canonical JSON.",
        [
            .required("sha256", \.sha256, "Of its bytes, hex."),
            .required("size", \.size, "In bytes."),
            .optional("inline", \.inline, "The JSON itself, when it has at most 32 KiB."),
        ]
    )
}

package enum SenderKind: String, JSONOpenEnum {
    case human
    case bot
    case `self`
    case humanAgent = "human_agent"
    case system
    case unknown
}

package enum Trust: String, JSONOpenEnum {
    case verified
    case unverified
    case suspicious
    case unknown
}

package struct EventSender: JSONObjectCoded, Hashable {
    package var id = ""
    package var kind = SenderKind.unknown
    package var display: String?
    package var trust = Trust.unknown

    package init() {}

    package init(id: String, kind: SenderKind, display: String? = nil, trust: Trust = .unknown) {
        self.id = id
        self.kind = kind
        self.display = display
        self.trust = trust
    }

    package static let fields = JSONFields<EventSender>(
        title: "Sender",
        doc: "Who did it.",
        [
            .required("id", \.id, "The platform's id."),
            .defaulted("kind", \.kind, "Person, bot, ourselves, …"),
            .optional("display", \.display, "A name for people; the sender chose it."),
            .defaulted("trust", \.trust, "How sure it is that the sender is who it says."),
        ]
    )
}

package struct EventReply: JSONObjectCoded, Hashable {
    package var handle = ""
    package var charactersMax: Int?
    package var windowClosesAt: Timestamp?

    package init() {}

    package init(handle: String, charactersMax: Int? = nil, windowClosesAt: Timestamp? = nil) {
        self.handle = handle
        self.charactersMax = charactersMax
        self.windowClosesAt = windowClosesAt
    }

    package static let fields = JSONFields<EventReply>(
        title: "ReplyAddress",
        doc: "How an answer finds its way back.",
        [
            .required("handle", \.handle, "Opaque, at most 4 KiB; only the adapter that made it reads it."),
            .optional("characters_max", \.charactersMax, "The most characters that one message may have."),
            .optional(
                "window_closes_at",
                \.windowClosesAt,
                "After this the platform takes no free-form answer."
            ),
        ]
    )
}

package struct EventIngress: JSONObjectCoded, Hashable {
    package var adapter = ""
    package var transport = ""
    package var deliveryID: String?
    package var attempt: Int?
    package var retryReason: String?
    package var isVerified = false

    package init() {}

    package init(adapter: String, transport: String, deliveryID: String? = nil, isVerified: Bool) {
        self.adapter = adapter
        self.transport = transport
        self.deliveryID = deliveryID
        self.isVerified = isVerified
    }

    package static let fields = JSONFields<EventIngress>(
        title: "Ingress",
        doc: "How an event reached us.",
        [
            .defaulted("adapter", \.adapter, "The adapter that normalized it."),
            .defaulted("transport", \.transport, "http, lmtp, smtp, socket, kafka."),
            .optional("delivery_id", \.deliveryID, "The platform's id of this delivery."),
            .optional("attempt", \.attempt, "Which try of the platform's this was; 0 is the first."),
            .optional("retry_reason", \.retryReason, "Why the platform tried again."),
            .defaulted("verified", \.isVerified, "The platform's signature or token was checked."),
        ]
    )
}
