package import Topics

/// The conversation as a turn is making it: the state before, plus the event, plus what has come since.
package struct TurnDraft: Sendable {
    package var state: ConversationState
    package let event: InboundEvent
    package var reply = ""
    package var usage = TurnUsage()
    package var requests: RequestHasher
    private var callCount = 0

    /// The state with the event in it, at the next turn. `requests`: as the turn before left it.
    package init(
        state: ConversationState,
        event: InboundEvent,
        isForAgent: Bool,
        requests: RequestHasher = RequestHasher()
    ) {
        self.requests = requests
        self.state = state
        self.event = event
        self.state.turn += 1
        self.state.recent.insert(event.dedupekey)
        guard let text = Self.text(of: event) else { return }
        var entry = TranscriptEntry(
            turn: self.state.turn,
            role: isForAgent ? .user : .note,
            text: text,
            time: event.recordedtime
        )
        entry.eventID = event.id
        entry.sender = event.data.sender.display ?? event.data.sender.id
        append(entry)
    }

    /// Adds what the assistant said. Returns its calls under ids of our own: providers number theirs as they
    /// like, and a transcript may pass from one provider to another.
    @discardableResult
    package mutating func say(_ text: String, calling toolCalls: [ModelToolCall]) -> [ModelToolCall] {
        let renamed = toolCalls.map { call in
            callCount += 1
            return ModelToolCall(
                id: "turn\(state.turn)call\(callCount)",
                name: call.name,
                arguments: call.arguments
            )
        }
        guard !text.isEmpty || !renamed.isEmpty else { return [] }
        var entry = TranscriptEntry(turn: state.turn, role: .assistant, text: text, time: event.recordedtime)
        entry.toolCalls = renamed
        append(entry)
        return renamed
    }

    package mutating func hear(_ result: ToolResult, of call: ModelToolCall) {
        var entry = TranscriptEntry(
            turn: state.turn,
            role: .tool,
            text: result.text,
            time: event.recordedtime
        )
        entry.toolCallID = call.id
        entry.isError = result.isError ? true : nil
        append(entry)
    }

    private mutating func append(_ entry: TranscriptEntry) {
        state.entries.append(entry)
        state.entryCount += 1
    }

    /// What the transcript says of an event; nil when it has nothing for a reader.
    private static func text(of event: InboundEvent) -> String? {
        let said = event.data.message?.text
        switch event.type {
        case .messageCreated, .commandInvoked, .messageAuto: return said
        case .messageEdited:
            return "[edited \(event.data.targetMessageID ?? "a message")] \(said ?? "")"
        case .messageDeleted: return "[deleted \(event.data.targetMessageID ?? "a message")]"
        case .unknown: return said.map { "[not understood] \($0)" }
        default: return nil
        }
    }
}
