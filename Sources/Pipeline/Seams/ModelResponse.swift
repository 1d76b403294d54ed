package import JSON

package struct ModelResponse: JSONObjectCoded, Hashable {
    package var text = ""
    package var toolCalls: [ModelToolCall] = []
    package var stop = ModelStop.end
    package var usage = ModelUsage()
    /// As the provider names the model that answered.
    package var model = ""

    package init() {}

    package init(
        text: String,
        toolCalls: [ModelToolCall],
        stop: ModelStop,
        usage: ModelUsage,
        model: String
    ) {
        self.text = text
        self.toolCalls = toolCalls
        self.stop = stop
        self.usage = usage
        self.model = model
    }

    package static let fields = JSONFields<ModelResponse>(
        title: "ModelResponse",
        doc: "What a model answered.",
        [
            .required("text", \.text, "What it says."),
            .defaulted("tool_calls", \.toolCalls, "Tools that it wants run, in order."),
            .required("stop", \.stop, "Why it ended."),
            .defaulted("usage", \.usage, "What it cost."),
            .defaulted("model", \.model, "The model that answered."),
        ]
    )
}

package enum ModelStop: String, JSONOpenEnum {
    case end
    case tools
    /// `outputTokensMax` was reached.
    case length
    case refused
    case unknown
}

package struct ModelUsage: JSONObjectCoded, Hashable {
    package var inputTokens = 0
    package var outputTokens = 0
    package var cachedTokens = 0

    package init() {}

    package init(inputTokens: Int, outputTokens: Int, cachedTokens: Int) {
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.cachedTokens = cachedTokens
    }

    package static let fields = JSONFields<ModelUsage>(
        title: "ModelUsage",
        doc: "Tokens that an answer cost.",
        [
            .defaulted("input_tokens", \.inputTokens, "Tokens read, those from the cache included."),
            .defaulted("output_tokens", \.outputTokens, "Tokens written."),
            .defaulted("cached_tokens", \.cachedTokens, "Tokens read from the provider's cache."),
        ]
    )
}
