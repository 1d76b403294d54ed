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
        messages.reserveCapacity(entries.count)
        let start = entries.firstIndex { $0.role == .user || $0.role == .note } ?? entries.endIndex
        // In place: a loop over the array would copy each entry.
        for index in start..<entries.endIndex {
            switch entries[index].role {
            case .note, .unknown:
                notes.append(named(entries[index]))
            case .user:
                // Apart from the words that are to be answered: a command must stay at their start.
                if !notes.isEmpty { messages.append(.user(notes.joined(separator: "\n"))) }
                notes = []
                messages.append(.user(entries[index].text))
            case .assistant:
                messages.append(.assistant(entries[index].text, toolCalls: entries[index].toolCalls))
            case .tool:
                messages.append(
                    .toolResult(
                        callID: entries[index].toolCallID ?? "",
                        text: entries[index].text,
                        isError: entries[index].isError ?? false
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
        let results = Set(messages.lazy.compactMap { $0.toolCallID })
        func isAnswered(_ message: ModelMessage) -> Bool {
            message.toolCalls.allSatisfy { results.contains($0.id) }
        }
        guard !messages.allSatisfy(isAnswered) else { return messages }
        return messages.compactMap { message in
            guard !isAnswered(message) else { return message }
            return message.text.isEmpty ? nil : .assistant(message.text, toolCalls: [])
        }
    }
}
