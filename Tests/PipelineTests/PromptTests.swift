import JSON
import Pipeline
import Testing
import Topics

@Suite("The transcript as a model's messages")
struct PromptTests {
    private func entry(_ role: EntryRole, _ text: String, by sender: String? = nil) -> TranscriptEntry {
        var entry = TranscriptEntry(turn: 1, role: role, text: text, time: Timestamp(milliseconds: 0))
        entry.sender = sender
        return entry
    }

    @Test("what was only noted never changes the words that are to be answered")
    func notes() {
        let messages = Prompt.messages(from: [
            entry(.note, "lunch?", by: "Ann"), entry(.note, "yes", by: "Bob"),
            entry(.user, "/help", by: "Ann"),
        ])

        #expect(messages.map(\.text) == ["Ann: lunch?\nBob: yes", "/help"])
        #expect(messages.allSatisfy { $0.role == .user })
    }
}
