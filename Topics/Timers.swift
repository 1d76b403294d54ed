package import JSON

package enum TimersTopic {
    package static let topic = Topic(
        name: "timers",
        title: "Wake-ups that will re-enter the events",
        cleanup: .compact,
        retention: nil,
        key: "timer: conversation/name",
        message: WakeUp.self
    )
}

/// A wake-up that a conversation has asked for.
package struct WakeUp: TopicMessage {
    package static let schemaName = "timer"
    package static let schemaVersion = "1.0"

    package var timerID = ""
    package var conversation = ""
    package var dueAt = Timestamp(milliseconds: 0)
    package var note: String?

    package init() {}

    package static let fields = JSONFields<WakeUp>(
        title: "Timer",
        doc: "A wake-up; a record without value cancels it.",
        [
            .required("timer_id", \.timerID, "conversation/name; the key."),
            .required("conversation", \.conversation, "The conversation's key."),
            .required("due_at", \.dueAt, "When it is due."),
            .optional("note", \.note, "What the conversation wanted to be reminded of."),
        ]
    )
}
