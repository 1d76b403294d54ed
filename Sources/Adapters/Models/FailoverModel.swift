package import Pipeline
import Synchronization

/// Several models in order: the next is asked when the one before does not answer now.
package struct FailoverModel: ModelProvider {
    package let name: String
    private let models: [any ModelProvider]

    /// At least one model.
    package init(_ models: [any ModelProvider]) {
        precondition(!models.isEmpty, "a failover needs a model")
        self.models = models
        name = models.map(\.name).joined(separator: ", ")
    }

    package var determinism: ModelDeterminism {
        // Which one answers depends on more than the request.
        models.count == 1 ? models[0].determinism : .recorded
    }

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let streamed = Streamed()
        var failures: [ModelError] = []
        for model in models {
            // What a model said before it failed must not stand before another's words.
            if streamed.take() { await part(.restart) }
            do throws(ModelError) {
                return try await model.respond(to: request) { piece in
                    streamed.note()
                    await part(piece)
                }
            } catch {
                // A bad key or an unknown model at one provider says nothing about the next.
                if error.kind == .cancelled { throw error }
                failures.append(error)
            }
        }
        throw Self.summary(failures)
    }

    /// The most hopeful of them: transient if any is, else throttled until the first is ready again.
    private static func summary(_ failures: [ModelError]) -> ModelError {
        let detail = failures.map(\.detail).joined(separator: "; ")
        if failures.contains(where: { $0.kind == .transient }) { return ModelError(.transient, detail) }
        let delays = failures.compactMap { failure -> Duration?? in
            if case .throttled(let delay) = failure.kind { .some(delay) } else { nil }
        }
        guard !delays.isEmpty else { return ModelError(.permanent, detail) }
        let known = delays.compactMap(\.self)
        return ModelError(.throttled(retryAfter: known.count == delays.count ? known.min() : nil), detail)
    }
}

/// Whether anything was passed on since it was last asked.
private final class Streamed: Sendable {
    private let state = Mutex(false)

    func note() { state.withLock { $0 = true } }

    func take() -> Bool {
        state.withLock { state in
            defer { state = false }
            return state
        }
    }
}
