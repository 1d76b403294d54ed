import JSON
import Pipeline
import Topics

/// `penstock conversations`: what is stored of each.
enum ConversationsCommand {
    static let command = Command(
        name: "conversations",
        summary: "conversations as they are stored: list, show, files, fork, gc",
        subcommands: [
            Command(name: "list", summary: "every conversation with its newest turn", run: list),
            Command(
                name: "show",
                summary: "transcript, memory, files and cost of one",
                operands: "ID",
                operandCount: 1...1,
                examples: [
                    ("penstock conversations show webhook:/cli:cli", "as it is now"),
                    (
                        "penstock conversations show webhook:/cli:cli --turn 3",
                        "as it was after its third turn"
                    ),
                ],
                options: [turnOption],
                run: show
            ),
            Command(
                name: "files",
                summary: "the files that skills left, or what is in one",
                operands: "ID [PATH]",
                operandCount: 1...2,
                examples: [
                    ("penstock conversations files webhook:/cli:cli", "their names, sizes and hashes"),
                    ("penstock conversations files webhook:/cli:cli notes.txt > notes.txt", "one of them"),
                ],
                options: [turnOption],
                run: files
            ),
            Command(
                name: "fork",
                summary: "begins a conversation from a turn of another, which is not touched",
                operands: "ID",
                operandCount: 1...1,
                discussion: """
                    Copies nothing: the new conversation names what the other left after that turn. Turns are
                    numbered on. Talk to it with penstock send --conversation.
                    """,
                examples: [
                    (
                        "penstock conversations fork webhook:/cli:cli --turn 3 --to webhook:/cli:again",
                        "then: penstock send --conversation again \"/help\""
                    )
                ],
                options: [
                    .value("turn", "N", "the turn to begin from"), .value("to", "ID", "the new conversation"),
                ],
                run: fork
            ),
            gcCommand,
        ]
    )

    private static let turnOption = Command.Option.value("turn", "N", "as it was after this turn")

    private static func list(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        let store = TurnStore(composition.store)
        if !invocation.isJSON { Terminal.line("TURN  OUTCOME   LAST                      CONVERSATION") }
        var after: String?
        var damaged = 0
        while let key = try await composition.store.list(prefix: "c/", after: after, limit: 1).entries.first?
            .key
        {
            let prefix = key.split(separator: "/").prefix(3).joined(separator: "/")
            after = "\(prefix)/~"
            do throws(TurnFailure) {
                guard let slot = try await store.newest(ConversationKeys(prefix: prefix)) else { continue }
                show(slot, invocation.isJSON)
            } catch {
                Terminal.complain(words(error))
                damaged += 1
            }
        }
        return damaged == 0 ? 0 : 1
    }

    private static func show(_ slot: Slot, _ isJSON: Bool) {
        guard isJSON else {
            let turn = String(slot.state.turn)
            return Terminal.line(
                turn.padded(6) + slot.outcome.rawValue.padded(10) + slot.sealedAt.rfc3339.padded(26)
                    + slot.state.conversation
            )
        }
        Terminal.json([
            "conversation": .string(slot.state.conversation), "turn": .integer(slot.state.turn),
            "outcome": .string(slot.outcome.rawValue), "sealed_at": .string(slot.sealedAt.rfc3339),
            "state_hash": .string(slot.stateHash),
        ])
    }

    /// What is wrong with what is stored, and what to do.
    static func words(_ failure: TurnFailure) -> String {
        failure.kind == .unreadable
            ? "\(failure.detail); restore it from the log: penstock replay rebuild" : failure.detail
    }

    /// The turn that was asked for, else the newest.
    static func slot(_ invocation: Invocation, in store: TurnStore) async throws -> Slot {
        let id = invocation.operands[0]
        let keys = ConversationKeys(id)
        do throws(TurnFailure) {
            if invocation.has("turn") {
                let turn = Int64(try turn(invocation))
                if let slot = try await store.slot(turn, of: keys) { return slot }
                if let newest = try await store.newestTurn(keys) {
                    throw TurnFailure(
                        .permanent,
                        "\(id) has no turn \(turn): its newest is \(newest), and old ones may be swept"
                    )
                }
            } else if let slot = try await store.newest(keys) {
                return slot
            }
        } catch {
            throw Failure(words(error))
        }
        throw Failure("there is no conversation \(id): see penstock conversations list")
    }

    private static func turn(_ invocation: Invocation) throws(TurnFailure) -> Int {
        do {
            return try invocation.integer("turn", in: 1...Int.max, default: 1)
        } catch {
            let message = (error as? UsageError)?.message ?? "\(error)"
            throw TurnFailure(.permanent, message)
        }
    }

    private static func fork(_ invocation: Invocation) async throws -> Int32 {
        guard let target = invocation.value("to"), !target.isEmpty, invocation.has("turn") else {
            throw UsageError("fork needs --turn N and --to ID, the new conversation")
        }
        let turn = Int64(try invocation.integer("turn", in: 1...Int.max, default: 1))
        let source = invocation.operands[0]
        guard target != source else { throw UsageError("--to \(target): a fork is another conversation") }
        let composition = try await Composition(try SettingsFile.load(invocation))
        try await composition.probeStore()
        let fork = ConversationFork(
            log: composition.log,
            sources: composition.sources,
            store: composition.store,
            worker: composition.identity,
            time: composition.time,
            chance: composition.chance
        )
        do {
            let slot = try await fork.fork(source, turn: turn, to: target)
            if invocation.isJSON {
                Terminal.json([
                    "conversation": .string(target), "turn": .integer(slot.state.turn),
                    "state_hash": .string(slot.stateHash), "forked_from": .string(source),
                ])
            } else {
                Terminal.line("\(target) begins where \(source) was after turn \(turn)")
            }
            return 0
        } catch ConversationFork.Refusal.noSuchTurn {
            throw Failure("\(source) has no turn \(turn): see penstock conversations show \(source)")
        } catch ConversationFork.Refusal.exists {
            throw Failure("\(target) has turns already: take another name with --to")
        } catch let error as TurnFailure {
            throw Failure(words(error))
        }
    }
}

extension String {
    func padded(_ width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
