import JSON
import Pipeline

/// An answer of the chat completions API, as OpenAI, Ollama, vLLM, llama.cpp and gateways send it.
struct OpenAIAnswer: ModelAnswer {
    private struct Call {
        var id: String
        var index: Int64?
        var name = ""
        var arguments = ""
        /// Some send the arguments as an object, not as text.
        var object: JSONValue?
    }

    private static let callsMax = 128

    private var text = ""
    private var refusal = ""
    private var calls: [Call] = []
    private var reason: String?
    private var isDone = false
    private var usage = ModelUsage()
    private var model = ""

    mutating func take(_ event: ServerSentEvents.Event) throws(ModelError) -> String {
        if event.data.elementsEqual("[DONE]".utf8) {
            isDone = true
            return ""
        }
        return try take(chunk: try ModelBody<Self>.json(event.data), "delta")
    }

    mutating func take(whole body: JSONValue) throws(ModelError) -> String {
        isDone = true
        return try take(chunk: body, "message")
    }

    private mutating func take(chunk: JSONValue, _ member: String) throws(ModelError) -> String {
        if let error = ModelRefusal.error(in: chunk) { throw error }
        if let name = chunk["model"]?.stringValue, !name.isEmpty { model = name }
        takeUsage(chunk["usage"])
        guard let choice = chunk["choices"]?[0] else { return "" }
        if let reason = choice["finish_reason"]?.stringValue { self.reason = reason }
        // Some send the last piece as a whole message.
        guard let delta = choice[member] ?? choice["delta"] ?? choice["message"] else { return "" }
        refusal += delta["refusal"]?.stringValue ?? ""
        for call in delta["tool_calls"]?.arrayValue ?? [] { try take(call: call) }
        let piece = Self.words(delta["content"])
        text += piece
        return piece
    }

    /// Text, or a list of parts of which some are text.
    private static func words(_ content: JSONValue?) -> String {
        content?.stringValue ?? (content?.arrayValue ?? []).compactMap { $0["text"]?.stringValue }.joined()
    }

    /// A piece belongs to the call of its index; an id of its own begins another call all the same, because
    /// some servers number every call 0. Without either it goes on with the last, unless it has a name.
    private mutating func take(call piece: JSONValue) throws(ModelError) {
        let id = piece["id"]?.stringValue ?? ""
        let index = piece["index"]?.integerValue
        let function = piece["function"] ?? piece
        let name = function["name"]?.stringValue ?? ""
        var place = calls.lastIndex { call in
            if let index, call.index == index { return id.isEmpty || call.id.isEmpty || call.id == id }
            return !id.isEmpty && call.id == id
        }
        if place == nil, index == nil, id.isEmpty, name.isEmpty { place = calls.indices.last }
        if place == nil {
            guard calls.count < Self.callsMax else {
                throw ModelError(.transient, "more than \(Self.callsMax) tool calls in one answer")
            }
            calls.append(Call(id: id, index: index))
            place = calls.count - 1
        }
        guard let place else { return }
        if calls[place].id.isEmpty { calls[place].id = id }
        // Sent again with every piece by some, never in pieces.
        if !name.isEmpty { calls[place].name = name }
        switch function["arguments"] {
        case .string(let text): calls[place].arguments += text
        case .object(let members): calls[place].object = .object(members)
        default: break
        }
    }

    private mutating func takeUsage(_ value: JSONValue?) {
        guard let value, value.objectValue != nil else { return }
        usage = ModelUsage(
            inputTokens: value.count("prompt_tokens"),
            outputTokens: value.count("completion_tokens"),
            cachedTokens: value["prompt_tokens_details"]?.count("cached_tokens") ?? 0
        )
    }

    func finish() throws(ModelError) -> ModelResponse {
        guard reason != nil || isDone else {
            throw ModelError(.transient, "its stream stopped before the end of the answer")
        }
        var made = calls.enumerated().map { offset, call in
            let id = call.id.isEmpty ? "call_\(offset)" : call.id
            guard let object = call.object else {
                return ModelToolCall(id: id, name: call.name, argumentsText: call.arguments)
            }
            return ModelToolCall(id: id, name: call.name, arguments: object)
        }
        // An answer that was cut off ends in half a call.
        if reason == "length" { made.removeAll { $0.arguments.objectValue == nil } }
        let isRefused = reason == "content_filter" || text.isEmpty && made.isEmpty && !refusal.isEmpty
        return ModelResponse(
            text: text.isEmpty ? refusal : text,
            toolCalls: made,
            stop: isRefused ? .refused : stop(made),
            usage: usage,
            model: model
        )
    }

    /// Whether there are calls decides: Ollama says `stop` beside them.
    private func stop(_ calls: [ModelToolCall]) -> ModelStop {
        if reason == "length" { return .length }
        return calls.isEmpty ? .end : .tools
    }
}

extension JSONValue {
    /// A count that a stranger sent: never negative, never too large to add up.
    func count(_ name: String) -> Int {
        Int(min(max(self[name]?.integerValue ?? 0, 0), 1 << 40))
    }
}
