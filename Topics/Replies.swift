package import JSON

package enum RepliesTopic {
    package static let topic = Topic(
        name: "replies",
        title: "Replies to deliver",
        cleanup: .delete,
        retention: .seconds(14 * 86_400),
        key: "conversation",
        message: Reply.self
    )
}

/// One message for a platform to deliver.
package struct Reply: TopicMessage {
    package static let schemaName = "reply"
    package static let schemaVersion = "1.0"

    package var replyID = ""
    package var conversation = ""
    package var platform = ""
    package var account = ""
    package var inResponseTo = ""
    package var handle = ""
    package var text = ""
    package var format = TextFormat.markdown
    package var createdAt = Timestamp(milliseconds: 0)
    package var hop = 1

    package init() {}

    package static let fields = JSONFields<Reply>(
        title: "Reply",
        doc: "One message for a platform to deliver, at most once under its reply_id.",
        [
            .required("reply_id", \.replyID, "conversation/turn/index; the idempotency key."),
            .required("conversation", \.conversation, "The conversation's key."),
            .required("platform", \.platform, "The adapter that delivers it."),
            .defaulted("account", \.account, "Our side of the conversation, as in the event."),
            .required("in_response_to", \.inResponseTo, "Id of the event that it answers."),
            .required("handle", \.handle, "The event's reply.handle."),
            .required("text", \.text, "What to say."),
            .defaulted("format", \.format, "How the text is marked up."),
            .required("created_at", \.createdAt, "When the turn made it."),
            .defaulted("hop", \.hop, "How many agents this has passed through."),
        ]
    )
}
