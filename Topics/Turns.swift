package import JSON

package enum TurnsTopic {
    package static let topic = Topic(
        name: "turns",
        title: "One record per committed turn: what a replay needs",
        cleanup: .delete,
        retention: .seconds(90 * 86_400),
        key: "conversation",
        message: TurnRecord.self
    )
}

package enum TurnOutcome: String, JSONOpenEnum {
    /// The agent ran; it may have had nothing to say.
    case answered
    /// Noted in the conversation; not for the agent.
    case noted
    /// The event was given up.
    case dead
    /// No event: the conversation begins from a turn of another.
    case forked
    case unknown
}

package struct TurnRecord: TopicMessage {
    package static let schemaName = "turn"
    package static let schemaVersion = "1.1"

    package var conversation = ""
    package var turn: Int64 = 0
    package var outcome = TurnOutcome.unknown
    package var events: [TurnEvent] = []
    package var steps: [TurnStep] = []
    package var replies: [String] = []
    package var stateHash = ""
    package var previousHash: String?
    package var usage = TurnUsage()
    package var startedAt = Timestamp(milliseconds: 0)
    package var sealedAt = Timestamp(milliseconds: 0)
    package var worker = ""
    package var version = ""
    package var putID: String?
    package var log: String?
    package var change: JSONRaw?
    package var changeRef: String?
    package var forkedFrom: TurnReference?

    package init() {}

    package static let fields = JSONFields<TurnRecord>(
        title: "Turn",
        doc: "What a turn did: the events it answered, every step's result, and the state it left.",
        [
            .required("conversation", \.conversation, "The conversation's key."),
            .required("turn", \.turn, "1 for the first turn of the conversation, then one more each."),
            .required("outcome", \.outcome, "What came of it."),
            .required("events", \.events, "The events it answered."),
            .required("steps", \.steps, "What the model and the skills gave back, in order."),
            .required("replies", \.replies, "Ids of the replies it made."),
            .required("state_hash", \.stateHash, "SHA-256 of the state it left, canonical JSON, hex."),
            .optional("previous_hash", \.previousHash, "The state hash of the turn before."),
            .defaulted("usage", \.usage, "What it cost."),
            .required("started_at", \.startedAt, "When it started."),
            .required("sealed_at", \.sealedAt, "When it was decided."),
            .defaulted("worker", \.worker, "Who ran it."),
            .defaulted("version", \.version, "The program's version."),
            .optional("put_id", \.putID, "Random, one for each try to decide this turn."),
            .optional("log", \.log, "Identity of the log that the events are on."),
            .optional(
                "change",
                \.change,
                "What the turn changed in the conversation's state: enough to make it from the state before."
            ),
            .optional("change_ref", \.changeRef, "Key of the change in the object store, when it is large."),
            .optional("forked_from", \.forkedFrom, "The turn of another conversation that this begins from."),
        ]
    )
}

package struct TurnReference: JSONObjectCoded, Hashable {
    package var conversation = ""
    package var turn: Int64 = 0
    package var stateHash = ""

    package init() {}

    package static let fields = JSONFields<TurnReference>(
        title: "TurnReference",
        doc: "A turn of a conversation.",
        [
            .required("conversation", \.conversation, "The conversation's key."),
            .required("turn", \.turn, "The turn."),
            .required("state_hash", \.stateHash, "SHA-256 of the state it left."),
        ]
    )
}

package struct TurnEvent: JSONObjectCoded, Hashable {
    package var id = ""
    package var dedupekey = ""
    package var topic = ""
    package var partition = 0
    package var offset: Int64 = 0

    package init() {}

    package static let fields = JSONFields<TurnEvent>(
        title: "TurnEvent",
        doc: "An event that a turn answered.",
        [
            .required("id", \.id, "The event's id."),
            .required("dedupekey", \.dedupekey, "The event's dedupekey."),
            .required("topic", \.topic, "Where it is on the log, without the prefix."),
            .required("partition", \.partition, "Where it is on the log."),
            .required("offset", \.offset, "Where it is on the log."),
        ]
    )
}

package enum StepKind: String, JSONOpenEnum {
    case model
    case skill
    case unknown
}

package struct TurnStep: JSONObjectCoded, Hashable {
    package var index = 0
    package var kind = StepKind.unknown
    package var name = ""
    package var requestHash = ""
    package var result: JSONRaw?
    package var resultRef: String?
    package var durationMilliseconds: Int64 = 0

    package init() {}

    package static let fields = JSONFields<TurnStep>(
        title: "TurnStep",
        doc: "One step whose result was recorded.",
        [
            .required("index", \.index, "Its place in the turn, from 0."),
            .required("kind", \.kind, "What was asked."),
            .required("name", \.name, "The model or the skill."),
            .required("request_hash", \.requestHash, "SHA-256 of the request, canonical JSON, hex."),
            .optional("result", \.result, "What came back."),
            .optional("result_ref", \.resultRef, "Key of the result in the object store, when it is large."),
            .defaulted("duration_ms", \.durationMilliseconds, "How long it took, ms."),
        ]
    )
}

package struct TurnUsage: JSONObjectCoded, Hashable {
    package var inputTokens = 0
    package var outputTokens = 0
    package var modelCalls = 0
    package var skillRuns = 0

    package init() {}

    package static let fields = JSONFields<TurnUsage>(
        title: "TurnUsage",
        doc: "What a turn cost.",
        [
            .defaulted("input_tokens", \.inputTokens, "Tokens that models read."),
            .defaulted("output_tokens", \.outputTokens, "Tokens that models wrote."),
            .defaulted("model_calls", \.modelCalls, "Calls of a model."),
            .defaulted("skill_runs", \.skillRuns, "Runs of a skill."),
        ]
    )
}
