import JSON
package import Pipeline

/// Anthropic's Messages API.
package struct AnthropicModel: ModelProvider {
    package let determinism = ModelDeterminism.recorded
    private let baseURL: String
    private let model: String
    private let key: @Sendable () throws -> String
    private let transport: any HTTPTransport

    /// - Parameters:
    ///   - baseURL: without version and slash: `https://api.anthropic.com`.
    ///   - key: read on each call.
    package init(
        baseURL: String,
        model: String,
        key: @escaping @Sendable () throws -> String,
        transport: any HTTPTransport
    ) {
        self.baseURL = baseURL
        self.model = model
        self.key = key
        self.transport = transport
    }

    package var name: String { "anthropic:\(model)" }

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let fields: HTTPFields = [
            "Content-Type": "application/json", "Accept": "text/event-stream",
            "anthropic-version": "2023-06-01",
            "x-api-key": try ModelError.reading(name, key),
        ]
        let call = ModelCall<AnthropicFold>(
            transport: transport,
            name: name,
            url: baseURL.hasSuffix("/v1") ? "\(baseURL)/messages" : "\(baseURL)/v1/messages",
            fields: fields,
            body: body(request).json
        )
        return try await call.run(part)
    }

    private func body(_ request: ModelRequest) -> JSONValue {
        var body: [String: JSONValue] = [
            "model": .string(model), "max_tokens": .integer(Int64(request.outputTokensMax)), "stream": true,
            "messages": .array(Self.messages(request.messages)),
        ]
        if !request.system.isEmpty { body["system"] = .string(request.system) }
        if !request.tools.isEmpty {
            body["tools"] = .array(
                request.tools.map {
                    [
                        "name": .string($0.name), "description": .string($0.description),
                        "input_schema": $0.parameters,
                    ]
                }
            )
        }
        return .object(body)
    }

    /// Roles must alternate, and the results of one answer's calls belong into one message: neighbours of one
    /// role become one.
    private static func messages(_ messages: [ModelMessage]) -> [JSONValue] {
        var merged: [(role: String, content: [JSONValue])] = []
        for message in messages {
            let role = message.role == .assistant ? "assistant" : "user"
            if merged.last?.role == role {
                merged[merged.count - 1].content += content(message)
            } else {
                merged.append((role, content(message)))
            }
        }
        return merged.map { ["role": .string($0.role), "content": .array($0.content)] }
    }

    private static func content(_ message: ModelMessage) -> [JSONValue] {
        if message.role == .tool {
            return [
                [
                    "type": "tool_result", "tool_use_id": .string(message.toolCallID ?? ""),
                    "content": .string(message.text), "is_error": .bool(message.isError),
                ]
            ]
        }
        // Empty text is refused.
        let text: [JSONValue] =
            message.text.isEmpty && !message.toolCalls.isEmpty
            ? [] : [["type": "text", "text": .string(message.text.isEmpty ? "…" : message.text)]]
        return text
            + message.toolCalls.map {
                ["type": "tool_use", "id": .string($0.id), "name": .string($0.name), "input": $0.arguments]
            }
    }
}

/// Events of a streamed message.
struct AnthropicFold: ModelAnswerFold {
    private enum Block {
        case text(String)
        case tool(id: String, name: String, input: String)
    }

    private var blocks: [Int: Block] = [:]
    private var stop: String?
    private var usage = ModelUsage()
    private var model = ""
    private var error: (type: String, message: String)?
    private var isDone = false

    mutating func take(_ event: EventStreamParser.Event) -> String? {
        // Events of other shapes may be added at any time.
        guard let value = try? JSONValue(json: Array(event.data.utf8)) else { return nil }
        switch value["type"]?.stringValue {
        case "message_start":
            model = value["message"]?["model"]?.stringValue ?? ""
            takeUsage(value["message"]?["usage"])
        case "content_block_start": return start(value)
        case "content_block_delta": return extend(value)
        case "message_delta":
            stop = value["delta"]?["stop_reason"]?.stringValue ?? stop
            takeUsage(value["usage"])
        case "message_stop": isDone = true
        case "error":
            error = (
                value["error"]?["type"]?.stringValue ?? "", value["error"]?["message"]?.stringValue ?? ""
            )
        default: break
        }
        return nil
    }

    private mutating func start(_ value: JSONValue) -> String? {
        guard let index = value["index"]?.integerValue, let block = value["content_block"], blocks.count < 256
        else {
            return nil
        }
        switch block["type"]?.stringValue {
        case "text":
            let text = block["text"]?.stringValue ?? ""
            blocks[Int(index)] = .text(text)
            return text
        case "tool_use":
            blocks[Int(index)] = .tool(
                id: block["id"]?.stringValue ?? "call\(index)",
                name: block["name"]?.stringValue ?? "",
                input: ""
            )
        default: break
        }
        return nil
    }

    private mutating func extend(_ value: JSONValue) -> String? {
        guard let index = value["index"]?.integerValue.map({ Int($0) }) else { return nil }
        switch (blocks[index], value["delta"]?["type"]?.stringValue) {
        case (.text(let text), "text_delta"):
            let more = value["delta"]?["text"]?.stringValue ?? ""
            blocks[index] = .text(text + more)
            return more
        case (.tool(let id, let name, let input), "input_json_delta"):
            let more = value["delta"]?["partial_json"]?.stringValue ?? ""
            blocks[index] = .tool(id: id, name: name, input: input + more)
        default: break
        }
        return nil
    }

    private mutating func takeUsage(_ value: JSONValue?) {
        guard let value else { return }
        if let input = value["input_tokens"]?.integerValue {
            let cached = value["cache_read_input_tokens"]?.integerValue ?? 0
            let written = value["cache_creation_input_tokens"]?.integerValue ?? 0
            usage.inputTokens = Int(input + cached + written)
            usage.cachedTokens = Int(cached)
        }
        if let output = value["output_tokens"]?.integerValue { usage.outputTokens = Int(output) }
    }

    func response() throws(ModelError) -> ModelResponse {
        if let error {
            let detail = "the provider's error: \(error.type) \(error.message.prefix(300))"
            let isThrottled = ["overloaded_error", "rate_limit_error"].contains(error.type)
            throw ModelError(isThrottled ? .throttled(retryAfter: nil) : .transient, detail)
        }
        guard isDone || stop != nil else { throw ModelError(.transient, "the answer broke off") }
        var text = ""
        var calls: [ModelToolCall] = []
        for (_, block) in blocks.sorted(by: { $0.key < $1.key }) {
            switch block {
            case .text(let more): text += more
            case .tool(let id, let name, let input):
                calls.append(ModelToolCall(id: id, name: name, arguments: ModelToolCall.arguments(input)))
            }
        }
        let reason: ModelStop =
            switch stop {
            case _ where !calls.isEmpty: .tools
            case "max_tokens": .length
            case "refusal": .refused
            default: .end
            }
        return ModelResponse(text: text, toolCalls: calls, stop: reason, usage: usage, model: model)
    }
}
