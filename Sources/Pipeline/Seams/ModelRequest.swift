package import JSON

package struct ModelRequest: JSONObjectCoded, Hashable {
    package var system = ""
    package var messages: [ModelMessage] = []
    package var tools: [ModelTool] = []
    package var outputTokensMax = 0

    package init() {}

    package init(system: String, messages: [ModelMessage], tools: [ModelTool], outputTokensMax: Int) {
        self.system = system
        self.messages = messages
        self.tools = tools
        self.outputTokensMax = outputTokensMax
    }

    package static let fields = JSONFields<ModelRequest>(
        title: "ModelRequest",
        doc: "What a model is asked.",
        [
            .required("system", \.system, "Instructions."),
            .required(
                "messages",
                \.messages,
                "The conversation, oldest first; the last is not the assistant's."
            ),
            .required("tools", \.tools, "What it may call."),
            .required("output_tokens_max", \.outputTokensMax, "The longest answer."),
        ]
    )
}

package enum ModelRole: String, JSONStringEnum {
    case user
    case assistant
    /// The result of one tool call.
    case tool
}

package struct ModelMessage: JSONObjectCoded, Hashable {
    package var role = ModelRole.user
    package var text = ""
    package var toolCalls: [ModelToolCall] = []
    /// For a tool's result: the call that it is the result of.
    package var toolCallID: String?
    package var isError = false

    package init() {}

    package static func user(_ text: String) -> Self {
        var message = Self()
        message.text = text
        return message
    }

    package static func assistant(_ text: String, toolCalls: [ModelToolCall]) -> Self {
        var message = Self()
        message.role = .assistant
        message.text = text
        message.toolCalls = toolCalls
        return message
    }

    package static func toolResult(callID: String, text: String, isError: Bool) -> Self {
        var message = Self()
        message.role = .tool
        message.text = text
        message.toolCallID = callID
        message.isError = isError
        return message
    }

    package static let fields = JSONFields<ModelMessage>(
        title: "ModelMessage",
        doc: "One message of a conversation with a model.",
        [
            .required("role", \.role, "Whose it is."),
            .required("text", \.text, "What it says."),
            .defaulted("tool_calls", \.toolCalls, "Tools that the assistant calls."),
            .optional("tool_call_id", \.toolCallID, "The call that this is the result of."),
            .defaulted("is_error", \.isError, "The tool failed."),
        ]
    )
}

package struct ModelToolCall: JSONObjectCoded, Hashable {
    package var id = ""
    package var name = ""
    package var arguments = JSONValue.object([:])

    package init() {}

    package init(id: String, name: String, arguments: JSONValue) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }

    package static let fields = JSONFields<ModelToolCall>(
        title: "ModelToolCall",
        doc: "A tool that the model wants run.",
        [
            .required("id", \.id, "Tells the calls of a conversation apart."),
            .required("name", \.name, "The tool."),
            .required("arguments", \.arguments, "An object, as the tool's parameters describe."),
        ]
    )
}

package struct ModelTool: JSONObjectCoded, Hashable {
    package var name = ""
    package var description = ""
    /// JSON Schema of the arguments.
    package var parameters = JSONValue.object([:])

    package init() {}

    package init(name: String, description: String, parameters: JSONValue) {
        self.name = name
        self.description = description
        self.parameters = parameters
    }

    package static let fields = JSONFields<ModelTool>(
        title: "ModelTool",
        doc: "A tool that the model may call.",
        [
            .required("name", \.name, "Letters, digits, _ and -, at most 64."),
            .required("description", \.description, "When and how to use it."),
            .required("parameters", \.parameters, "JSON Schema of its arguments."),
        ]
    )
}
