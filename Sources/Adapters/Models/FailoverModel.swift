package import Pipeline

/// Several models in order: the next is asked when the one before does not answer now.
package struct FailoverModel: ModelProvider {
    private let models: [any ModelProvider]

    /// - Precondition: there is at least one.
    package init(_ models: [any ModelProvider]) {
        precondition(!models.isEmpty, "no model")
        self.models = models
    }

    package var name: String { models.map(\.name).joined(separator: " | ") }

    package var determinism: ModelDeterminism {
        // Which one answers depends on more than the request.
        models.count == 1 ? models[0].determinism : .recorded
    }

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        var last = ModelError(.permanent, "no model")
        for (index, model) in models.enumerated() {
            if index > 0 { await part(.restart) }
            do throws(ModelError) {
                return try await model.respond(to: request, part: part)
            } catch {
                last = error
                // A bad key or an unknown model at one provider says nothing about the next.
                if error.kind == .cancelled { throw error }
            }
        }
        throw last
    }
}
