import JSON
package import Pipeline

/// Chat completions, as OpenAI, Ollama, vLLM, llama.cpp and gateways speak it.
package struct OpenAIModel: ModelProvider {
    package let name: String
    package let determinism = ModelDeterminism.recorded
    private let remote: RemoteModel

    /// The base URL ends where `/chat/completions` begins: `https://api.openai.com/v1`.
    package init(_ remote: RemoteModel) {
        self.remote = remote
        name = "openai:\(remote.model)"
    }

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let key = try remote.readKey(name)
        var fields: HTTPFields = ["Content-Type": "application/json", "Accept": "text/event-stream"]
        if let key { fields["Authorization"] = "Bearer \(key)" }
        let http = HTTPRequest(
            method: "POST",
            target: "\(remote.baseURL)/chat/completions",
            fields: fields,
            body: body(request).json
        )
        return try await remote.ask(http, as: OpenAIAnswer.self, name: name, key: key, part: part)
    }

    private func body(_ request: ModelRequest) -> JSONValue {
        var messages = request.messages.map(Self.message)
        if !request.system.isEmpty {
            messages.insert(["role": "system", "content": .string(request.system)], at: 0)
        }
        var body: [String: JSONValue] = [
            "model": .string(remote.model),
            "messages": .array(messages),
            "stream": true,
            "stream_options": ["include_usage": true],
        ]
        if request.outputTokensMax > 0 { body[tokensMember] = .integer(Int64(request.outputTokensMax)) }
        if !request.tools.isEmpty { body["tools"] = .array(request.tools.map(Self.tool)) }
        return .object(body)
    }

    /// OpenAI's newer models refuse the old name; the others' servers know only that.
    private var tokensMember: String {
        let isOpenAI = remote.baseURL.contains("://api.openai.com") || remote.baseURL.contains(".azure.com")
        return isOpenAI ? "max_completion_tokens" : "max_tokens"
    }

    private static func message(_ message: ModelMessage) -> JSONValue {
        switch message.role {
        case .user: return ["role": "user", "content": .string(message.text)]
        case .tool:
            // The API has no field for failure.
            let text = message.isError ? "Error: \(message.text)" : message.text
            return [
                "role": "tool", "tool_call_id": .string(message.toolCallID ?? ""), "content": .string(text),
            ]
        case .assistant:
            guard !message.toolCalls.isEmpty else {
                return ["role": "assistant", "content": .string(message.text)]
            }
            return [
                "role": "assistant",
                "content": message.text.isEmpty ? .null : .string(message.text),
                "tool_calls": .array(message.toolCalls.map(call)),
            ]
        }
    }

    private static func call(_ call: ModelToolCall) -> JSONValue {
        [
            "id": .string(call.id),
            "type": "function",
            "function": [
                "name": .string(call.name),
                "arguments": .string(String(decoding: call.argumentsObject.json, as: UTF8.self)),
            ],
        ]
    }

    private static func tool(_ tool: ModelTool) -> JSONValue {
        [
            "type": "function",
            "function": [
                "name": .string(tool.name),
                "description": .string(tool.description),
                "parameters": tool.parameters,
            ],
        ]
    }
}
