import JSON
import Pipeline
import Testing

@testable import Adapters

@Suite("Models: Anthropic")
struct AnthropicModelTests {
    static let start: JSONValue = [
        "type": "message_start",
        "message": [
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m-1-20260101", "content": [],
            "stop_reason": nil,
            "usage": [
                "input_tokens": 20, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 100,
                "output_tokens": 1,
            ],
        ],
    ]

    static func block(_ index: Int64, _ block: JSONValue, _ deltas: JSONValue...) -> [JSONValue] {
        let index = JSONValue.integer(index)
        return [["type": "content_block_start", "index": index, "content_block": block]]
            + deltas.map { ["type": "content_block_delta", "index": index, "delta": $0] }
            + [["type": "content_block_stop", "index": index]]
    }

    static func end(_ reason: JSONValue) -> [JSONValue] {
        [
            ["type": "message_delta", "delta": ["stop_reason": reason], "usage": ["output_tokens": 42]],
            ["type": "message_stop"],
        ]
    }

    static func stream(_ events: [JSONValue]) -> String {
        events.map { event in
            let name = event["type"]?.stringValue ?? ""
            return "event: \(name)\ndata: \(String(decoding: event.json, as: UTF8.self))\n\n"
        }.joined()
    }

    static func ask(_ body: String) async -> ModelSupport.Heard {
        await ModelSupport.ask(AnthropicModel(ModelSupport.remote(StreamingTransport(body))))
    }

    @Test("the request is what the API's documentation shows", arguments: ["http://h", "http://h/v1/"])
    func request(base: String) async throws {
        let transport = StreamingTransport(Self.stream([Self.start] + Self.end("end_turn")))
        _ = await ModelSupport.ask(AnthropicModel(ModelSupport.remote(transport, base: base)))

        let request = try #require(transport.requests.first)
        #expect(request.target == "http://h/v1/messages")
        #expect(request.fields["x-api-key"] == ModelSupport.key)
        #expect(request.fields["anthropic-version"] == "2023-06-01")
        let expected: JSONValue = [
            "model": "m-1", "stream": true, "max_tokens": 500, "system": "Be brief.",
            "messages": [
                ["role": "user", "content": [["type": "text", "text": "weather in Paris and Rome?"]]],
                [
                    "role": "assistant",
                    "content": [
                        ["type": "tool_use", "id": "a_1", "name": "weather", "input": ["city": "Paris"]],
                        ["type": "tool_use", "id": "a_2", "name": "weather", "input": [:]],
                    ],
                ],
                [
                    "role": "user",
                    "content": [
                        ["type": "tool_result", "tool_use_id": "a_1", "content": "sunny", "is_error": false],
                        [
                            "type": "tool_result", "tool_use_id": "a_2", "content": "no object",
                            "is_error": true,
                        ],
                        ["type": "text", "text": "and now?"],
                    ],
                ],
            ],
            "tools": [
                ["name": "weather", "description": "Tells it.", "input_schema": ["type": "object"]]
            ],
        ]
        #expect(try JSONValue(json: request.body) == expected)
    }

    @Test("text, thinking and calls are put together, whatever the split of the bytes")
    func stream() async {
        var events = [Self.start]
        events += Self.block(
            0,
            ["type": "thinking", "thinking": ""],
            ["type": "thinking_delta", "thinking": "hm"]
        )
        events.append(["type": "ping"])
        events += Self.block(
            1,
            ["type": "text", "text": ""],
            ["type": "text_delta", "text": "Let me "],
            ["type": "text_delta", "text": "look – ☀️"]
        )
        events += Self.block(
            2,
            ["type": "tool_use", "id": "toolu_1", "name": "weather", "input": [:]],
            ["type": "input_json_delta", "partial_json": ""],
            ["type": "input_json_delta", "partial_json": #"{"city": "Par"#],
            ["type": "input_json_delta", "partial_json": #"is"}"#]
        )
        events += Self.block(3, ["type": "tool_use", "id": "toolu_2", "name": "time", "input": [:]])
        events.append(["type": "of_the_future", "index": 9])
        let body = Self.stream(events + Self.end("tool_use"))
        let expected = ModelResponse(
            text: "Let me look – ☀️",
            toolCalls: [
                ModelToolCall(id: "toolu_1", name: "weather", arguments: ["city": "Paris"]),
                ModelToolCall(id: "toolu_2", name: "time", arguments: [:]),
            ],
            stop: .tools,
            usage: ModelUsage(inputTokens: 123, outputTokens: 42, cachedTokens: 100),
            model: "m-1-20260101"
        )
        var random = SeededRandom.fromEnvironment()
        for _ in 0..<50 {
            let transport = StreamingTransport(ModelSupport.split(Array(body.utf8), &random))
            let heard = await ModelSupport.ask(AnthropicModel(ModelSupport.remote(transport)))
            #expect(heard.response == expected, "SEED=\(random.seed)")
            #expect(heard.text == expected.text)
        }
    }

    @Test(
        "why it ended is told",
        arguments: [
            ("end_turn", ModelStop.end), ("max_tokens", .length), ("refusal", .refused),
            ("stop_sequence", .end),
            ("model_context_window_exceeded", .length), ("of_the_future", .end),
        ]
    )
    func stops(reason: String, stop: ModelStop) async {
        let text = Self.block(0, ["type": "text", "text": "hi"])
        let heard = await Self.ask(Self.stream([Self.start] + text + Self.end(.string(reason))))
        #expect(heard.response?.stop == stop && heard.response?.text == "hi")
    }

    @Test("an answer in one piece is taken; one that stops early is transient")
    func whole() async {
        let body: JSONValue = [
            "type": "message", "model": "w", "stop_reason": "tool_use",
            "usage": ["input_tokens": .integer(.max), "cache_read_input_tokens": .integer(.max)],
            "content": [
                ["type": "text", "text": "hi"],
                ["type": "tool_use", "id": "t", "name": "one", "input": ["a": 1]],
            ],
        ]
        let heard = await Self.ask(String(decoding: body.json, as: UTF8.self))
        #expect(heard.response?.text == "hi" && heard.text == "hi")
        #expect(heard.response?.toolCalls == [ModelToolCall(id: "t", name: "one", arguments: ["a": 1])])

        let text = Self.block(0, ["type": "text", "text": ""], ["type": "text_delta", "text": "Once"])
        let cut = await Self.ask(Self.stream([Self.start] + text))
        #expect(cut.error?.kind == .transient && cut.text == "Once")
    }
}
