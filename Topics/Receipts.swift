package import JSON

package enum ReceiptsTopic {
    package static let topic = Topic(
        name: "receipts",
        title: "What became of replies: our deliveries and the platforms' statuses",
        cleanup: .compactAndDelete,
        retention: .seconds(14 * 86_400),
        key: "conversation",
        message: Receipt.self
    )
}

package enum ReceiptState: String, JSONOpenEnum {
    case sent
    case delivered
    case read
    case failed
    /// Sent perhaps: no answer came, and the platform cannot tell.
    case ambiguous
    case unknown
}

package struct Receipt: TopicMessage {
    package static let schemaName = "receipt"
    package static let schemaVersion = "1.0"

    package var conversation = ""
    package var platform = ""
    package var replyID: String?
    package var chunk: Int?
    package var state = ReceiptState.unknown
    package var platformMessageID: String?
    package var code: String?
    package var reason: String?
    package var attempts: Int?
    package var time = Timestamp(milliseconds: 0)

    package init() {}

    package static let fields = JSONFields<Receipt>(
        title: "Receipt",
        doc: "What became of a reply.",
        [
            .required("conversation", \.conversation, "The conversation's key."),
            .required("platform", \.platform, "The adapter that delivered it."),
            .optional(
                "reply_id",
                \.replyID,
                "The reply; absent in a platform's status that names only its own id."
            ),
            .optional("chunk", \.chunk, "Which piece of the reply, from 0."),
            .required("state", \.state, "What became of it."),
            .optional("platform_message_id", \.platformMessageID, "The platform's id of the message."),
            .optional("code", \.code, "The platform's word for a failure."),
            .optional("reason", \.reason, "The failure in words."),
            .optional("attempts", \.attempts, "How often it was tried."),
            .required("time", \.time, "When this was known."),
        ]
    )
}
