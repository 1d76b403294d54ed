import JSON
import Pipeline
import Testing

@testable import Adapters

@Suite("Models: OpenAI-compatible")
struct OpenAIModelTests {
    static func chunk(_ delta: JSONValue, finish: JSONValue = nil) -> JSONValue {
        [
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1-2026",
            "choices": [["index": 0, "delta": delta, "finish_reason": finish]],
        ]
    }

    static func call(_ index: Int64?, _ id: String?, _ name: String?, _ arguments: JSONValue?) -> JSONValue {
        var call: [String: JSONValue] = [:]
        var function: [String: JSONValue] = [:]
        if let index { call["index"] = .integer(index) }
        if let id { call["id"] = .string(id) }
        if let name { function["name"] = .string(name) }
        if let arguments { function["arguments"] = arguments }
        call["function"] = .object(function)
        return ["tool_calls": [.object(call)]]
    }

    static func ask(_ body: String) async -> ModelSupport.Heard {
        await ModelSupport.ask(OpenAIModel(ModelSupport.remote(StreamingTransport(body))))
    }

    @Test("the request is what the API's documentation shows")
    func request() async throws {
        let transport = StreamingTransport(
            ModelSupport.events([Self.chunk(["content": "x"], finish: "stop")])
        )
        _ = await ModelSupport.ask(OpenAIModel(ModelSupport.remote(transport, base: "http://h/v1/")))

        let request = try #require(transport.requests.first)
        #expect(request.method == "POST" && request.target == "http://h/v1/chat/completions")
        #expect(request.fields["authorization"] == "Bearer \(ModelSupport.key)")
        let expected: JSONValue = [
            "model": "m-1", "stream": true, "stream_options": ["include_usage": true], "max_tokens": 500,
            "messages": [
                ["role": "system", "content": "Be brief."],
                ["role": "user", "content": "weather in Paris and Rome?"],
                [
                    "role": "assistant", "content": nil,
                    "tool_calls": [
                        [
                            "id": "a:1", "type": "function",
                            "function": ["name": "weather", "arguments": #"{"city":"Paris"}"#],
                        ],
                        [
                            "id": "a:2", "type": "function",
                            "function": ["name": "weather", "arguments": "{}"],
                        ],
                    ],
                ],
                ["role": "tool", "tool_call_id": "a:1", "content": "sunny"],
                ["role": "tool", "tool_call_id": "a:2", "content": "Error: no object"],
                ["role": "user", "content": "and now?"],
            ],
            "tools": [
                [
                    "type": "function",
                    "function": [
                        "name": "weather", "description": "Tells it.", "parameters": ["type": "object"],
                    ],
                ]
            ],
        ]
        #expect(try JSONValue(json: request.body) == expected)
    }

    @Test("text and calls in pieces are put together, whatever the split of the bytes")
    func stream() async throws {
        let body = ModelSupport.events(
            [
                Self.chunk(["role": "assistant", "content": ""]), Self.chunk(["content": "Let me "]),
                Self.chunk(["content": "look – ☀️"]), Self.chunk(Self.call(0, "c1", "weather", "")),
                Self.chunk(Self.call(0, nil, nil, #"{"city":"#)),
                Self.chunk(Self.call(1, "c2", "time", "")),
                Self.chunk(Self.call(0, nil, nil, #""Paris"}"#)),
                Self.chunk([:], finish: "tool_calls"),
                [
                    "choices": [], "model": "m-1-2026",
                    "usage": [
                        "prompt_tokens": 11, "completion_tokens": 7,
                        "prompt_tokens_details": ["cached_tokens": 4],
                    ],
                ],
            ],
            end: "data: [DONE]\n\n"
        )
        let expected = ModelResponse(
            text: "Let me look – ☀️",
            toolCalls: [
                ModelToolCall(id: "c1", name: "weather", arguments: ["city": "Paris"]),
                ModelToolCall(id: "c2", name: "time", arguments: [:]),
            ],
            stop: .tools,
            usage: ModelUsage(inputTokens: 11, outputTokens: 7, cachedTokens: 4),
            model: "m-1-2026"
        )
        var random = SeededRandom.fromEnvironment()
        for _ in 0..<50 {
            let pieces = ModelSupport.split(Array(body.utf8), &random)
            let heard = await ModelSupport.ask(
                OpenAIModel(ModelSupport.remote(StreamingTransport(pieces)))
            )
            #expect(heard.response == expected, "SEED=\(random.seed)")
            #expect(heard.text == expected.text)
        }
    }

    @Test("other servers' deviations are understood")
    func deviations() async throws {
        // Every call numbered 0, whole, with ids; `stop` beside calls; no usage (Ollama).
        let ollama = ModelSupport.events([
            Self.chunk(Self.call(0, "x", "one", #"{"a":1}"#)), Self.chunk(Self.call(0, "y", "two", "{}")),
            Self.chunk(["content": ""], finish: "stop"),
        ])
        let first = try #require(await Self.ask(ollama).response)
        #expect(first.toolCalls.map(\.name) == ["one", "two"] && first.stop == .tools)
        #expect(first.toolCalls[0].arguments == ["a": 1] && first.usage == ModelUsage())

        // Neither ids nor numbers; arguments an object; the stream ends without [DONE] and empty line.
        let bare = ModelSupport.events([
            Self.chunk(Self.call(nil, nil, "one", ["a": 1])),
            Self.chunk(Self.call(nil, nil, "two", "{\"b\"")),
            Self.chunk(Self.call(nil, nil, nil, ":2}")),
        ])
        let last = #"data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#
        let second = try #require(await Self.ask(": hello\n\n" + bare + last).response)
        #expect(second.toolCalls.map(\.id) == ["call_0", "call_1"])
        #expect(second.toolCalls.map(\.arguments) == [["a": 1], ["b": 2]])

        // No stream at all; content in parts; choices null beside the usage.
        let whole: JSONValue = [
            "model": "w", "usage": ["prompt_tokens": 1, "completion_tokens": 2],
            "choices": [
                ["message": ["content": [["type": "text", "text": "hi"]]], "finish_reason": "length"]
            ],
        ]
        let heard = await Self.ask("\n" + String(decoding: whole.json, as: UTF8.self))
        #expect(heard.response?.text == "hi" && heard.response?.stop == .length && heard.text == "hi")
        #expect(heard.response?.usage.outputTokens == 2)

        let nulls = ModelSupport.events([["choices": nil, "usage": nil]], end: "data: [DONE]\n\n")
        #expect(await Self.ask(nulls).response?.stop == .end)
    }

    @Test("a refusal is one; arguments that are no JSON stay text; half a call is dropped at the limit")
    func ends() async {
        let refusal = await Self.ask(
            ModelSupport.events([Self.chunk(["refusal": "I will not."], finish: "stop")])
        )
        #expect(refusal.response?.stop == .refused && refusal.response?.text == "I will not.")
        let filtered = await Self.ask(ModelSupport.events([Self.chunk([:], finish: "content_filter")]))
        #expect(filtered.response?.stop == .refused)
        let half = Self.chunk(Self.call(0, "x", "one", "{\"a\":"))
        let broken = await Self.ask(ModelSupport.events([half, Self.chunk([:], finish: "tool_calls")]))
        #expect(broken.response?.toolCalls.first?.arguments == .string("{\"a\":"))
        let cut = await Self.ask(ModelSupport.events([half, Self.chunk([:], finish: "length")]))
        #expect(cut.response?.toolCalls.isEmpty == true && cut.response?.stop == .length)
    }

    @Test("a stream that stops before its end is transient, with what came already streamed")
    func broken() async {
        let heard = await Self.ask(ModelSupport.events([Self.chunk(["content": "Once upon"])]))
        #expect(heard.error?.kind == .transient && heard.text == "Once upon")
        #expect(await Self.ask("data: {\"choices\": [\n\n").error?.kind == .transient)
        #expect(await Self.ask("").error?.kind == .transient)
    }

    @Test("counts that no token counter gives do not overflow")
    func hostileCounts() async {
        let usage: JSONValue = [
            "prompt_tokens": .integer(.max), "completion_tokens": -5,
            "prompt_tokens_details": ["cached_tokens": 1e300],
        ]
        let call = Self.chunk(Self.call(.max, "x", "one", "{}"))
        let heard = await Self.ask(ModelSupport.events([call, ["usage": usage]], end: "data: [DONE]\n\n"))
        #expect(heard.response?.usage.outputTokens == 0)
        #expect(heard.response?.toolCalls.count == 1)
    }
}
