package import JSON

package enum DeadLettersTopic {
    package static let topic = Topic(
        name: "deadletters",
        title: "Events that could not be handled, whole",
        cleanup: .delete,
        retention: .seconds(90 * 86_400),
        key: "conversation",
        message: DeadLetter.self
    )
}

/// A record that could not be handled, with everything needed to try again.
package struct DeadLetter: TopicMessage {
    package static let schemaName = "dead-letter"
    package static let schemaVersion = "1.0"

    package var topic = ""
    package var partition = 0
    package var offset: Int64 = 0
    package var conversation = ""
    package var eventID: String?
    package var reason = ""
    package var detail = ""
    package var attempts = 0
    package var firstAttemptAt: Timestamp?
    package var time = Timestamp(milliseconds: 0)
    package var worker = ""
    package var key = ""
    package var headers: [DeadLetterHeader] = []
    package var payload = ""

    package init() {}

    package static let fields = JSONFields<DeadLetter>(
        title: "DeadLetter",
        doc: "A record that could not be handled, whole, with why.",
        [
            .required("topic", \.topic, "Where it came from, without the prefix."),
            .required("partition", \.partition, "Where it came from."),
            .required("offset", \.offset, "Where it came from."),
            .defaulted(
                "conversation",
                \.conversation,
                "The conversation's key; empty when it could not be told."
            ),
            .optional("event_id", \.eventID, "The event's id."),
            .required("reason", \.reason, "undecodable, attempts_spent, permanent_failure, …"),
            .defaulted("detail", \.detail, "The last error in words."),
            .defaulted("attempts", \.attempts, "How often it was tried."),
            .optional("first_attempt_at", \.firstAttemptAt, "When it was first tried."),
            .required("time", \.time, "When it was given up."),
            .defaulted("worker", \.worker, "Who gave it up."),
            .defaulted("key", \.key, "The record's key, base64."),
            .defaulted("headers", \.headers, "The record's headers."),
            .required("payload", \.payload, "The record's value, base64."),
        ]
    )
}

package struct DeadLetterHeader: JSONObjectCoded, Hashable {
    package var name = ""
    package var value = ""

    package init() {}

    package init(name: String, value: String) {
        self.name = name
        self.value = value
    }

    package static let fields = JSONFields<DeadLetterHeader>(
        title: "DeadLetterHeader",
        doc: "A header of the record.",
        [
            .required("name", \.name, "Its name."),
            .required("value", \.value, "Its bytes, base64."),
        ]
    )
}
