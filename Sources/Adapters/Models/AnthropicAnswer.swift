import JSON
import Pipeline

/// An answer of Anthropic's Messages API.
struct AnthropicAnswer: ModelAnswer {
    private enum Block {
        case text(String)
        case call(id: String, name: String, arguments: String, whole: JSONValue?)
        /// Thinking, and kinds that came later than this.
        case other
    }

    private static let blocksMax = 256

    private var blocks: [Block] = []
    private var places: [Int64: Int] = [:]
    private var stop: String?
    private var isDone = false
    private var usage = ModelUsage()
    private var model = ""

    mutating func take(_ event: ServerSentEvents.Event) throws(ModelError) -> String {
        let value = try ModelBody<Self>.json(event.data)
        // The type is in the data too, which survives proxies that drop the event's name.
        switch value["type"]?.stringValue ?? event.name {
        case "message_start":
            model = value["message"]?["model"]?.stringValue ?? model
            takeUsage(value["message"]?["usage"])
        case "content_block_start":
            return try begin(value["content_block"] ?? .null, at: value["index"]?.integerValue)
        case "content_block_delta": return grow(value["delta"] ?? .null, at: value["index"]?.integerValue)
        case "message_delta":
            stop = value["delta"]?["stop_reason"]?.stringValue ?? stop
            takeUsage(value["usage"])
        case "message_stop": isDone = true
        case "error":
            throw ModelRefusal.error(in: value) ?? ModelError(.transient, "an error without words")
        default: break
        }
        return ""
    }

    mutating func take(whole body: JSONValue) throws(ModelError) -> String {
        if let error = ModelRefusal.error(in: body) { throw error }
        model = body["model"]?.stringValue ?? ""
        stop = body["stop_reason"]?.stringValue
        takeUsage(body["usage"])
        var text = ""
        for block in body["content"]?.arrayValue ?? [] { text += try begin(block, at: nil) }
        isDone = true
        return text
    }

    private mutating func begin(_ block: JSONValue, at index: Int64?) throws(ModelError) -> String {
        guard blocks.count < Self.blocksMax else {
            throw ModelError(.transient, "more than \(Self.blocksMax) blocks in one answer")
        }
        if let index { places[index] = blocks.count }
        switch block["type"]?.stringValue {
        case "text":
            let text = block["text"]?.stringValue ?? ""
            blocks.append(.text(text))
            return text
        case "tool_use":
            blocks.append(
                .call(
                    id: block["id"]?.stringValue ?? "",
                    name: block["name"]?.stringValue ?? "",
                    arguments: "",
                    whole: block["input"]
                )
            )
        default: blocks.append(.other)
        }
        return ""
    }

    private mutating func grow(_ delta: JSONValue, at index: Int64?) -> String {
        guard let place = index.flatMap({ places[$0] }) else { return "" }
        switch blocks[place] {
        case .text(let text):
            let piece = delta["text"]?.stringValue ?? ""
            blocks[place] = .text(text + piece)
            return piece
        case .call(let id, let name, let arguments, let whole):
            let piece = delta["partial_json"]?.stringValue ?? ""
            blocks[place] = .call(id: id, name: name, arguments: arguments + piece, whole: whole)
        case .other: break
        }
        return ""
    }

    /// Counts are running totals: the last that was named stands.
    private mutating func takeUsage(_ value: JSONValue?) {
        guard let value else { return }
        let cached = value.count("cache_read_input_tokens")
        let input = value.count("input_tokens") + value.count("cache_creation_input_tokens") + cached
        if input > 0 {
            usage.inputTokens = input
            usage.cachedTokens = cached
        }
        usage.outputTokens = max(usage.outputTokens, value.count("output_tokens"))
    }

    func finish() throws(ModelError) -> ModelResponse {
        guard isDone || stop != nil else {
            throw ModelError(.transient, "its stream stopped before the end of the answer")
        }
        var text = ""
        var calls: [ModelToolCall] = []
        for block in blocks {
            switch block {
            case .text(let piece): text += piece
            case .call(let id, let name, let arguments, let whole):
                let id = id.isEmpty ? "call_\(calls.count)" : id
                calls.append(
                    arguments.isEmpty
                        ? ModelToolCall(id: id, name: name, arguments: whole ?? .object([:]))
                        : ModelToolCall(id: id, name: name, argumentsText: arguments)
                )
            case .other: break
            }
        }
        let reason = reason(calls)
        if reason == .length { calls.removeAll { $0.arguments.objectValue == nil } }
        return ModelResponse(text: text, toolCalls: calls, stop: reason, usage: usage, model: model)
    }

    private func reason(_ calls: [ModelToolCall]) -> ModelStop {
        switch stop {
        case "max_tokens", "model_context_window_exceeded": .length
        case "refusal": .refused
        default: calls.isEmpty ? .end : .tools
        }
    }
}
