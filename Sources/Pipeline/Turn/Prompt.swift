import Topics

/// What the model is told, from settings and state alone.
package enum Prompt {
    package static func system(
        settings: AgentSettings,
        skills: SkillCatalog,
        memory: [String: String]
    ) -> String {
        var parts = ["Your name is \(settings.name).", settings.instructions]
        if !skills.skills.isEmpty {
            parts.append(
                """
                You have skills. Read one with read_skill before you first use it, then run its scripts with \
                run_skill. They run without network; files that they leave in /work are kept.
                """
            )
            parts.append(skills.prompt)
        }
        if !memory.isEmpty {
            let keys = memory.keys.sorted().prefix(50).joined(separator: ", ")
            parts.append("You were told to remember: \(keys). Use recall to read one.")
        }
        return parts.joined(separator: "\n\n")
    }

    /// The transcript as the model's messages. Starts at a person's words, because a tool's result without
    /// its call is refused by every provider.
    package static func messages(from entries: [TranscriptEntry]) -> [ModelMessage] {
        var messages: [ModelMessage] = []
        var notes: [String] = []
        for entry in entries.drop(while: { $0.role != .user && $0.role != .note }) {
            switch entry.role {
            case .note, .unknown:
                notes.append(named(entry))
            case .user:
                // Apart from the words that are to be answered: a command must stay at their start.
                if !notes.isEmpty { messages.append(.user(notes.joined(separator: "\n"))) }
                notes = []
                messages.append(.user(entry.text))
            case .assistant:
                messages.append(.assistant(entry.text, toolCalls: entry.toolCalls))
            case .tool:
                messages.append(
                    .toolResult(
                        callID: entry.toolCallID ?? "",
                        text: entry.text,
                        isError: entry.isError ?? false
                    )
                )
            }
        }
        return answered(messages)
    }

    private static func named(_ entry: TranscriptEntry) -> String {
        entry.sender.map { "\($0): \(entry.text)" } ?? entry.text
    }

    /// Leaves out tool calls that have no result, as a turn that was given up half-way leaves them.
    private static func answered(_ messages: [ModelMessage]) -> [ModelMessage] {
        let results = Set(messages.compactMap { $0.toolCallID })
        return messages.compactMap { message in
            guard message.toolCalls.contains(where: { !results.contains($0.id) }) else { return message }
            return message.text.isEmpty ? nil : .assistant(message.text, toolCalls: [])
        }
    }
}
