import JSON
package import Pipeline

/// OpenAI's chat completions, and whatever speaks them: Ollama, vLLM, llama.cpp, gateways.
package struct OpenAIModel: ModelProvider {
    package let determinism = ModelDeterminism.recorded
    private let baseURL: String
    private let model: String
    private let key: @Sendable () throws -> String
    private let transport: any HTTPTransport

    /// - Parameters:
    ///   - baseURL: with the version, without a slash at the end: `https://api.openai.com/v1`.
    ///   - key: read on each call; empty for servers that want none.
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

    package var name: String { "openai:\(model)" }

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        var fields: HTTPFields = ["Content-Type": "application/json", "Accept": "text/event-stream"]
        let key = try ModelError.reading(name, key)
        if !key.isEmpty { fields.append("Authorization", "Bearer \(key)") }
        let call = ModelCall<OpenAIFold>(
            transport: transport,
            name: name,
            url: "\(baseURL)/chat/completions",
            fields: fields,
            body: body(request).json
        )
        return try await call.run(part)
    }

    private func body(_ request: ModelRequest) -> JSONValue {
        var messages = request.messages.map(Self.message)
        if !request.system.isEmpty {
            messages.insert(["role": "system", "content": .string(request.system)], at: 0)
        }
        var body: [String: JSONValue] = [
            "model": .string(model), "messages": .array(messages), "stream": true,
            "stream_options": ["include_usage": true],
        ]
        // OpenAI's own models take the newer name only, everybody else's the older.
        let limit = baseURL.contains("api.openai.com") ? "max_completion_tokens" : "max_tokens"
        body[limit] = .integer(Int64(request.outputTokensMax))
        if !request.tools.isEmpty { body["tools"] = .array(request.tools.map(Self.tool)) }
        return .object(body)
    }

    private static func message(_ message: ModelMessage) -> JSONValue {
        switch message.role {
        case .user: return ["role": "user", "content": .string(message.text)]
        case .tool:
            return [
                "role": "tool", "tool_call_id": .string(message.toolCallID ?? ""),
                "content": .string(message.text),
            ]
        case .assistant:
            var value: [String: JSONValue] = ["role": "assistant", "content": .string(message.text)]
            if !message.toolCalls.isEmpty { value["tool_calls"] = .array(message.toolCalls.map(call)) }
            return .object(value)
        }
    }

    private static func call(_ call: ModelToolCall) -> JSONValue {
        [
            "id": .string(call.id), "type": "function",
            "function": [
                "name": .string(call.name),
                "arguments": .string(String(decoding: call.arguments.json, as: UTF8.self)),
            ],
        ]
    }

    private static func tool(_ tool: ModelTool) -> JSONValue {
        [
            "type": "function",
            "function": [
                "name": .string(tool.name), "description": .string(tool.description),
                "parameters": tool.parameters,
            ],
        ]
    }
}

extension ModelError {
    static func reading(_ name: String, _ key: @Sendable () throws -> String) throws(ModelError) -> String {
        do {
            return try key()
        } catch {
            throw ModelError(.permanent, "\(name): no API key: \(error)")
        }
    }
}

/// Chunks of a chat completion. Tolerant: usage may be missing, a call's id may be missing, its arguments may
/// come in pieces or whole, an error may come within the stream.
struct OpenAIFold: ModelAnswerFold {
    private struct Call {
        var id = ""
        var name = ""
        var arguments = ""
    }

    private var text = ""
    private var calls: [Int: Call] = [:]
    private var finish: String?
    private var usage = ModelUsage()
    private var model = ""
    private var error: String?
    private var isDone = false

    mutating func take(_ event: EventStreamParser.Event) -> String? {
        if event.data == "[DONE]" {
            isDone = true
            return nil
        }
        // What is not JSON (a gateway's comment) carries nothing.
        guard let chunk = try? JSONValue(json: Array(event.data.utf8)) else { return nil }
        if let failure = chunk["error"], failure != .null {
            error = failure["message"]?.stringValue ?? failure.stringValue ?? "an error without words"
            return nil
        }
        if let name = chunk["model"]?.stringValue { model = name }
        takeUsage(chunk["usage"])
        guard let choice = chunk["choices"]?[0] else { return nil }
        if let reason = choice["finish_reason"]?.stringValue { finish = reason }
        // A server that does not stream answers with a whole message.
        guard let delta = choice["delta"] ?? choice["message"] else { return nil }
        for (index, call) in (delta["tool_calls"]?.arrayValue ?? []).enumerated() {
            takeCall(call, at: index)
        }
        guard let more = delta["content"]?.stringValue ?? delta["refusal"]?.stringValue else { return nil }
        text += more
        return more
    }

    private mutating func takeUsage(_ value: JSONValue?) {
        guard let value, value != .null else { return }
        usage = ModelUsage(
            inputTokens: Int(value["prompt_tokens"]?.integerValue ?? 0),
            outputTokens: Int(value["completion_tokens"]?.integerValue ?? 0),
            cachedTokens: Int(value["prompt_tokens_details"]?["cached_tokens"]?.integerValue ?? 0)
        )
    }

    private mutating func takeCall(_ value: JSONValue, at position: Int) {
        let index = Int(value["index"]?.integerValue ?? Int64(position))
        guard calls.count < 128 || calls[index] != nil else { return }
        var call = calls[index] ?? Call()
        if let id = value["id"]?.stringValue, !id.isEmpty { call.id = id }
        if let name = value["function"]?["name"]?.stringValue, !name.isEmpty { call.name = name }
        switch value["function"]?["arguments"] {
        case .string(let piece): call.arguments += piece
        case .object(let whole):
            call.arguments = String(decoding: JSONValue.object(whole).json, as: UTF8.self)
        default: break
        }
        calls[index] = call
    }

    func response() throws(ModelError) -> ModelResponse {
        if let error { throw ModelError(.transient, "the provider's error: \(error.prefix(300))") }
        guard finish != nil || isDone else {
            throw ModelError(.transient, "the answer broke off")
        }
        let toolCalls = calls.sorted { $0.key < $1.key }.map { index, call in
            ModelToolCall(
                id: call.id.isEmpty ? "call\(index)" : call.id,
                name: call.name,
                arguments: ModelToolCall.arguments(call.arguments)
            )
        }
        let stop: ModelStop =
            switch finish {
            case _ where !toolCalls.isEmpty: .tools
            case "length": .length
            case "content_filter": .refused
            default: .end
            }
        return ModelResponse(text: text, toolCalls: toolCalls, stop: stop, usage: usage, model: model)
    }
}

extension ModelToolCall {
    /// A model's arguments as it wrote them; what is not a JSON object is handed on under `invalid`, so that
    /// the tool tells the model.
    static func arguments(_ text: String) -> JSONValue {
        guard !text.isEmpty else { return .object([:]) }
        // Said to the model by the tool that does not find what it needs.
        guard let value = try? JSONValue(json: Array(text.utf8)), case .object = value else {
            return .object(["invalid": .string(String(text.prefix(2_000)))])
        }
        return value
    }
}
