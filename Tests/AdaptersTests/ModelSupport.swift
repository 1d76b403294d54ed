import JSON
import Pipeline
import Synchronization

@testable import Adapters

enum ModelSupport {
    static let key = "sk-secret-0123456789"

    static func remote(_ transport: any HTTPTransport, base: String = "http://127.0.0.1:1/v1") -> RemoteModel
    {
        RemoteModel(
            baseURL: base,
            model: "m-1",
            transport: transport,
            limits: HTTPLimits(total: .seconds(20), silence: .seconds(10), bodyBytesMax: 1 << 20)
        ) { key }
    }

    /// A whole conversation: words, a call with its result, a failed one, words again.
    static let request = ModelRequest(
        system: "Be brief.",
        messages: [
            .user("weather in Paris and Rome?"),
            .assistant(
                "",
                toolCalls: [
                    ModelToolCall(id: "a:1", name: "weather", arguments: ["city": "Paris"]),
                    ModelToolCall(id: "a:2", name: "weather", arguments: .string("Rome")),
                ]
            ),
            .toolResult(callID: "a:1", text: "sunny", isError: false),
            .toolResult(callID: "a:2", text: "no object", isError: true),
            .user("and now?"),
        ],
        tools: [
            ModelTool(name: "weather", description: "Tells it.", parameters: ["type": "object"])
        ],
        outputTokensMax: 500
    )

    static func events(_ events: [JSONValue], end: String = "") -> String {
        events.map { "data: \(String(decoding: $0.json, as: UTF8.self))\n\n" }.joined() + end
    }

    struct Heard: Sendable, Equatable {
        var response: ModelResponse?
        var error: ModelError?
        var parts: [ModelPart] = []

        var text: String {
            parts.reduce(into: "") { text, part in
                if case .text(let more) = part { text += more }
            }
        }
    }

    static func ask(_ model: any ModelProvider, _ request: ModelRequest = request) async -> Heard {
        let parts = Parts()
        var heard = Heard()
        do throws(ModelError) {
            heard.response = try await model.respond(to: request) { parts.append($0) }
        } catch {
            heard.error = error
        }
        heard.parts = parts.all
        return heard
    }

    /// The bytes in pieces of random lengths.
    static func split(_ bytes: [UInt8], _ random: inout SeededRandom) -> [[UInt8]] {
        var rest = bytes[...]
        var pieces: [[UInt8]] = []
        while !rest.isEmpty {
            let count = Int.random(in: 1...40, using: &random)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }
}

private final class Parts: Sendable {
    private let parts = Mutex<[ModelPart]>([])

    var all: [ModelPart] { parts.withLock { $0 } }

    func append(_ part: ModelPart) { parts.withLock { $0.append(part) } }
}
