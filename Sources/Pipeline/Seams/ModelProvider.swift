import JSON

/// Thinks: one request in, one answer out, its text streamed on the way.
///
/// Contract: one call is one request to the provider, retries included only where nothing was answered yet;
/// the returned response is the whole answer, whatever was streamed; cancelling the task ends the request and
/// throws `.cancelled`.
package protocol ModelProvider: Sendable {
    /// For turn records and people: `offline`, `openai:gpt-5`, `anthropic:claude-…`.
    var name: String { get }

    var determinism: ModelDeterminism { get }

    /// `part` gets the answer's parts in order, one call at a time; they are provisional until this returns.
    func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse
}

package enum ModelDeterminism: Sendable, Hashable {
    /// A pure function of the request: run again after a crash, not journaled.
    case deterministic
    /// Journaled before the turn goes on, so that no crash pays or answers twice.
    case recorded
}

package enum ModelPart: Sendable, Hashable {
    case text(String)
    /// What was streamed so far is void: the request is made again, elsewhere perhaps.
    case restart
}

package struct ModelError: Error, Hashable {
    package enum Kind: Sendable, Hashable {
        /// Overloaded or rate-limited: again, no sooner than this.
        case throttled(retryAfter: Duration?)
        case transient
        /// The request can never succeed as it is: bad key, unknown model, too long.
        case permanent
        case cancelled
    }

    package let kind: Kind
    /// What, where, and the provider's words; for the log. Never a key, never a prompt.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
