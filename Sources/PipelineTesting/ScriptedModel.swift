package import Pipeline
import Synchronization

/// A model that answers what a test tells it to, and counts how often it was asked.
package final class ScriptedModel: ModelProvider {
    package typealias Answer = @Sendable (ModelRequest, _ call: Int) throws(ModelError) -> ModelResponse

    package let name = "scripted"
    package let determinism: ModelDeterminism
    private let answer: Answer
    private let calls = Mutex(0)

    package init(_ determinism: ModelDeterminism = .recorded, answer: @escaping Answer) {
        self.determinism = determinism
        self.answer = answer
    }

    package var callCount: Int { calls.withLock { $0 } }

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let call = calls.withLock { calls in
            calls += 1
            return calls
        }
        let response = try answer(request, call)
        await part(.text(response.text))
        return response
    }

    package static func say(_ text: String) -> ModelResponse {
        ModelResponse(text: text, toolCalls: [], stop: .end, usage: ModelUsage(), model: "scripted")
    }

    package static func call(_ name: String, _ arguments: ModelToolCall) -> ModelResponse {
        ModelResponse(text: "", toolCalls: [arguments], stop: .tools, usage: ModelUsage(), model: "scripted")
    }
}
