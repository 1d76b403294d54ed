import JSON
import Pipeline

/// One provider's way to tell an answer: takes what arrives, gives the text as it grows and the whole at the
/// end.
protocol ModelAnswer: Sendable {
    init()

    /// Takes an event of the stream and returns the text that it added.
    mutating func take(_ event: ServerSentEvents.Event) throws(ModelError) -> String

    /// Takes an answer that came in one piece, as some gateways send even when asked to stream.
    mutating func take(whole body: JSONValue) throws(ModelError) -> String

    /// The whole answer; throws when the stream stopped before its end.
    func finish() throws(ModelError) -> ModelResponse
}

/// A body on its way into an answer: a stream of events, or one JSON object.
struct ModelBody<Answer: ModelAnswer>: Sendable {
    static var eventBytesMax: Int { 4 << 20 }

    private(set) var answer = Answer()
    private var events = ServerSentEvents(eventBytesMax: Self.eventBytesMax)
    /// Bytes of an answer that is no stream; nil while it is not known, or when it is one.
    private var whole: [UInt8]?
    private var hasBegun = false

    mutating func take(_ bytes: [UInt8]) throws(ModelError) -> String {
        if !hasBegun, let first = bytes.first(where: { !Self.isSpace($0) }) {
            hasBegun = true
            // No field of a stream begins so.
            if first == UInt8(ascii: "{") { whole = [] }
        }
        if whole != nil {
            whole?.append(contentsOf: bytes)
            return ""
        }
        var text = ""
        for event in try events(of: bytes) { text += try answer.take(event) }
        return text
    }

    private mutating func events(of bytes: [UInt8]) throws(ModelError) -> [ServerSentEvents.Event] {
        do throws(ServerSentEvents.TooLong) {
            return try events.take(bytes)
        } catch {
            throw ModelError(.transient, "an event of its stream has more than \(error.bytesMax) bytes")
        }
    }

    /// The text that came last, and the answer.
    mutating func finish() throws(ModelError) -> (text: String, response: ModelResponse) {
        var text = ""
        if let whole {
            text = try answer.take(whole: try Self.json(whole))
        } else if let event = events.finish() {
            text = try answer.take(event)
        }
        return (text, try answer.finish())
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    static func json(_ bytes: [UInt8]) throws(ModelError) -> JSONValue {
        do throws(JSONError) {
            return try JSONValue(json: bytes)
        } catch {
            throw ModelError(.transient, "its answer is not JSON: \(error)")
        }
    }
}

extension ModelToolCall {
    /// Arguments as models write them: text that should be an object. What is none stays text, for the tool
    /// to refuse in words that the model reads.
    init(id: String, name: String, argumentsText: String) {
        let bytes = Array(argumentsText.utf8)
        let isEmpty = bytes.allSatisfy { $0 <= 0x20 }
        // Not JSON is what the text is kept for.
        let value = isEmpty ? .object([:]) : try? JSONValue(json: bytes)
        self.init(id: id, name: name, arguments: value ?? .string(argumentsText))
    }

    /// What a provider gets back in the conversation, which takes objects only.
    var argumentsObject: JSONValue {
        arguments.objectValue == nil ? .object([:]) : arguments
    }
}
