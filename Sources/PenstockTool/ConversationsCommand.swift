import JSON
import Pipeline
import Topics

/// `penstock conversations`: what is stored of each.
enum ConversationsCommand {
    static let command = Command(
        name: "conversations",
        summary: "conversations as they are stored: list, show",
        subcommands: [
            Command(name: "list", summary: "every conversation with its newest turn", run: list),
            Command(
                name: "show",
                summary: "transcript, memory and cost of one",
                operands: "ID",
                operandCount: 1...1,
                examples: [("penstock conversations show webhook:/cli:cli", "as it is now")],
                options: [.value("turn", "N", "as it was after this turn")],
                run: show
            ),
        ]
    )

    private static func list(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        let store = TurnStore(composition.store)
        if !invocation.isJSON { Terminal.line("TURN  OUTCOME   LAST                      CONVERSATION") }
        var after: String?
        while let key = try await composition.store.list(prefix: "c/", after: after, limit: 1).entries.first?
            .key
        {
            let prefix = key.split(separator: "/").prefix(3).joined(separator: "/")
            after = "\(prefix)/~"
            guard let slot = try await store.newest(ConversationKeys(prefix: prefix)) else { continue }
            if invocation.isJSON {
                Terminal.json([
                    "conversation": .string(slot.state.conversation), "turn": .integer(slot.state.turn),
                    "outcome": .string(slot.outcome.rawValue), "sealed_at": .string(slot.sealedAt.rfc3339),
                    "state_hash": .string(slot.stateHash),
                ])
            } else {
                let turn = String(slot.state.turn)
                let outcome = slot.outcome.rawValue
                Terminal.line(
                    turn.padded(6) + outcome.padded(10) + slot.sealedAt.rfc3339.padded(26)
                        + slot.state.conversation
                )
            }
        }
        return 0
    }

    private static func show(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        let store = TurnStore(composition.store)
        let id = invocation.operands[0]
        let keys = ConversationKeys(id)
        let slot: Slot?
        if invocation.has("turn") {
            let turn = try invocation.integer("turn", in: 1...Int.max, default: 1)
            slot = try await store.slot(Int64(turn), of: keys)
        } else {
            slot = try await store.newest(keys)
        }
        guard let slot else {
            throw Failure("there is no conversation \(id), or not that turn: see penstock conversations list")
        }
        if invocation.isJSON {
            Terminal.line(String(decoding: slot.json, as: UTF8.self))
            return 0
        }
        var entries = slot.state.entries
        var segment = slot.state.segment
        while let key = segment {
            let sealed = try await store.segment(key)
            entries = sealed.entries + entries
            segment = sealed.previous
        }
        for entry in entries { Terminal.line(line(entry)) }
        for (key, value) in slot.state.memory.sorted(by: { $0.key < $1.key }) {
            Terminal.line("remembered: \(key) = \(value)")
        }
        Terminal.line("turn \(slot.state.turn), \(slot.outcome.rawValue), state \(slot.stateHash)")
        return 0
    }

    private static func line(_ entry: TranscriptEntry) -> String {
        let who = entry.role == .user || entry.role == .note ? entry.sender ?? "someone" : entry.role.rawValue
        let calls = entry.toolCalls.map {
            " [\($0.name) \(String(decoding: $0.arguments.json, as: UTF8.self))]"
        }
        return "\(entry.time.rfc3339) #\(entry.turn) \(who): \(entry.text)\(calls.joined())"
    }
}

extension String {
    func padded(_ width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
