import JSON
package import Pipeline

/// Anthropic's Messages API.
package struct AnthropicModel: ModelProvider {
    package let name: String
    package let determinism = ModelDeterminism.recorded
    private let remote: RemoteModel

    private static let version = "2023-06-01"
    /// The API wants a number; used when the request has none.
    private static let outputTokensDefault = 4_096

    /// The base URL ends where `/v1/messages` begins: `https://api.anthropic.com`.
    package init(_ remote: RemoteModel) {
        self.remote = remote
        name = "anthropic:\(remote.model)"
    }

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let key = try remote.readKey(name)
        var fields: HTTPFields = [
            "Content-Type": "application/json", "Accept": "text/event-stream",
            "anthropic-version": Self.version,
        ]
        if let key { fields["x-api-key"] = key }
        let http = HTTPRequest(
            method: "POST",
            target: remote.baseURL + (remote.baseURL.hasSuffix("/v1") ? "/messages" : "/v1/messages"),
            fields: fields,
            body: body(request).json
        )
        return try await remote.ask(http, as: AnthropicAnswer.self, name: name, key: key, part: part)
    }

    private func body(_ request: ModelRequest) -> JSONValue {
        let tokens = request.outputTokensMax > 0 ? request.outputTokensMax : Self.outputTokensDefault
        var body: [String: JSONValue] = [
            "model": .string(remote.model),
            "max_tokens": .integer(Int64(tokens)),
            "messages": .array(Self.messages(request.messages)),
            "stream": true,
        ]
        if !request.system.isEmpty { body["system"] = .string(request.system) }
        if !request.tools.isEmpty { body["tools"] = .array(request.tools.map(Self.tool)) }
        return .object(body)
    }

    /// Roles take turns, and all results of one answer's calls come first in the message after it.
    private static func messages(_ messages: [ModelMessage]) -> [JSONValue] {
        var turns: [(role: String, blocks: [JSONValue])] = []
        for message in messages {
            let role = message.role == .assistant ? "assistant" : "user"
            let blocks = blocks(message)
            guard !blocks.isEmpty else { continue }
            if turns.last?.role == role {
                turns[turns.count - 1].blocks += blocks
            } else {
                turns.append((role, blocks))
            }
        }
        return turns.map { ["role": .string($0.role), "content": .array($0.blocks)] }
    }

    private static func blocks(_ message: ModelMessage) -> [JSONValue] {
        // The API refuses text of white space alone.
        let isBlank = message.text.allSatisfy(\.isWhitespace)
        switch message.role {
        case .user: return [["type": "text", "text": .string(isBlank ? "(no text)" : message.text)]]
        case .assistant:
            let text: [JSONValue] = isBlank ? [] : [["type": "text", "text": .string(message.text)]]
            return text
                + message.toolCalls.map {
                    [
                        "type": "tool_use", "id": .string(safe($0.id)), "name": .string($0.name),
                        "input": $0.argumentsObject,
                    ]
                }
        case .tool:
            return [
                [
                    "type": "tool_result",
                    "tool_use_id": .string(safe(message.toolCallID ?? "")),
                    "content": .string(isBlank ? "(nothing)" : message.text),
                    "is_error": .bool(message.isError),
                ]
            ]
        }
    }

    /// Ids may have letters, digits, _ and - only; those that another provider made may have more.
    private static func safe(_ id: String) -> String {
        let id = String(id.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "_" })
        return id.isEmpty ? "_" : id
    }

    private static func tool(_ tool: ModelTool) -> JSONValue {
        [
            "name": .string(tool.name),
            "description": .string(tool.description),
            "input_schema": tool.parameters,
        ]
    }
}
