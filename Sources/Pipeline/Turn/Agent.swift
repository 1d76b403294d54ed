package import Topics

/// What answers: a model, the skills it may run, and how far it may go.
package struct Agent: Sendable {
    package let model: any ModelProvider
    package let tools: AgentTools
    package let settings: AgentSettings

    package init(model: any ModelProvider, tools: AgentTools, settings: AgentSettings) {
        self.model = model
        self.tools = tools
        self.settings = settings
    }

    /// Whether the event is something to answer; the others are only noted.
    package func answers(_ event: InboundEvent) -> Bool {
        guard event.type == .messageCreated || event.type == .commandInvoked, event.data.reply != nil else {
            return false
        }
        switch event.data.sender.kind {
        case .human, .unknown: break
        case .bot, .self, .humanAgent, .system: return false
        }
        guard settings.answering == .addressed, let message = event.data.message else { return true }
        return event.data.conversation.kind == .direct || message.mentionsMe
            || [.direct, .mention, .replyToMe].contains(message.addressed)
    }

    /// Calls the model until it has nothing more to run, and returns what that made of the conversation.
    ///
    /// A pure fold of `draft` and the steps' results: the same results give the same draft.
    package func answer(
        _ draft: inout TurnDraft,
        steps: inout StepRecorder,
        workspace: inout TurnWorkspace,
        live: @escaping @Sendable (LivePart) -> Void
    ) async throws(TurnFailure) {
        for _ in 0..<settings.roundsMax {
            let response = try await think(about: &draft, steps: &steps, live: live)
            draft.usage.modelCalls += 1
            draft.usage.inputTokens += response.usage.inputTokens
            draft.usage.outputTokens += response.usage.outputTokens
            let text = Self.bounded(response.text)
            let calls = draft.say(text, calling: response.toolCalls)
            guard !calls.isEmpty else {
                draft.reply =
                    response.stop == .refused && text.isEmpty ? "I can not help with that." : text
                return
            }
            for call in calls {
                let result = try await tools.run(
                    call,
                    draft: &draft,
                    steps: &steps,
                    workspace: &workspace,
                    live: live
                )
                draft.hear(result, of: call)
            }
        }
        draft.reply = "I stopped here: this took more than \(settings.roundsMax) rounds of work."
        draft.say(draft.reply, calling: [])
    }

    /// Far beyond what a model is asked for: a server that runs away must not make a record that no log
    /// takes.
    private static let textBytesMax = 128 * 1_024

    private static func bounded(_ text: String) -> String {
        guard text.utf8.count > textBytesMax else { return text }
        return String(decoding: text.utf8.prefix(textBytesMax), as: UTF8.self) + " […]"
    }

    private func think(
        about draft: inout TurnDraft,
        steps: inout StepRecorder,
        live: @escaping @Sendable (LivePart) -> Void
    ) async throws(TurnFailure) -> ModelResponse {
        let request = ModelRequest(
            system: Prompt.system(settings: settings, skills: tools.skills, memory: draft.state.memory),
            messages: Prompt.messages(from: draft.state.entries),
            tools: tools.definitions,
            outputTokensMax: settings.outputTokensMax
        )
        let model = model
        return try await steps.run(
            .model,
            model.name,
            requestHash: draft.requests.hash(request),
            isJournaled: model.determinism == .recorded
        ) { () async throws(TurnFailure) -> ModelResponse in
            do throws(ModelError) {
                return try await model.respond(to: request) { part in
                    switch part {
                    case .text(let text): live(.text(text))
                    case .restart: live(.failed)
                    }
                }
            } catch {
                throw TurnFailure(error)
            }
        }
    }
}

extension TurnFailure {
    init(_ error: ModelError) {
        switch error.kind {
        case .throttled(let after): self.init(.throttled(after: after), error.detail)
        case .transient: self.init(.transient, error.detail)
        case .permanent: self.init(.permanent, error.detail)
        case .cancelled: self.init(.abandoned, error.detail)
        }
    }
}
