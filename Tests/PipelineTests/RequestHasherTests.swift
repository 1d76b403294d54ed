import Crypto
import JSON
import Pipeline
import Testing

@Suite("The hash of a model's request")
struct RequestHasherTests {
    private func request(_ messages: [ModelMessage], system: String = "Be brief.") -> ModelRequest {
        let tool = ModelTool(name: "recall", description: "Reads.", parameters: ["type": "object"])
        return ModelRequest(system: system, messages: messages, tools: [tool], outputTokensMax: 512)
    }

    @Test("is that of its canonical JSON, whatever was hashed before")
    func sameAsWhole() {
        let call = ModelToolCall(id: "turn1call1", name: "recall", arguments: ["key": "k"])
        let talk: [ModelMessage] = [
            .user("hello \"you\""), .assistant("", toolCalls: [call]),
            .toolResult(callID: call.id, text: "k is v", isError: false), .assistant("k is v", toolCalls: []),
        ]
        let requests =
            (0...4).map { request(Array(talk[..<$0])) }
            + [
                // Asked again, with other instructions, with the oldest gone, with another last one.
                request(talk), request(talk, system: "Be kind."), request(Array(talk[2...])),
                request(Array(talk[2...]) + [.user("and?")]), request([.user("and?")]), request([]),
            ]
        var hasher = RequestHasher()

        for request in requests { #expect(hasher.hash(request) == SHA256.hex(request.json)) }
    }
}
