import Glibc
import JSON
import Pipeline
import Topics

// One turn, whole: what was said, what it cost, what it left.
extension ConversationsCommand {
    static func show(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        let store = TurnStore(composition.store)
        let slot = try await slot(invocation, in: store)
        var problems: [String] = []
        let entries = await transcript(of: slot, in: store, &problems)
        let tree = await tree(of: slot, in: store, &problems)
        let usage = usage(of: slot)
        if invocation.isJSON {
            Terminal.json(json(slot, entries, tree, usage, problems))
        } else {
            for entry in entries { Terminal.line(line(entry)) }
            for (key, value) in slot.state.memory.sorted(by: { $0.key < $1.key }) {
                Terminal.line("remembered: \(key) = \(value)")
            }
            for entry in tree?.entries ?? [] { Terminal.line("file: \(line(entry))") }
            if let origin = slot.forkedFrom {
                Terminal.line("forked from \(origin.conversation) turn \(origin.turn)")
            }
            Terminal.line(
                "turn \(slot.state.turn), \(slot.outcome.rawValue), \(slot.sealedAt.rfc3339), "
                    + "\(usage.modelCalls) model calls (\(usage.inputTokens) tokens in, "
                    + "\(usage.outputTokens) out), \(usage.skillRuns) skill runs"
            )
            Terminal.line("state \(slot.stateHash)")
        }
        for problem in problems { Terminal.complain(problem) }
        return problems.isEmpty ? 0 : 1
    }

    /// Oldest first; what can not be read is named, the rest shown.
    private static func transcript(
        of slot: Slot,
        in store: TurnStore,
        _ problems: inout [String]
    ) async -> [TranscriptEntry] {
        var pieces = [slot.state.entries]
        var segment = slot.state.segment
        while let key = segment {
            do throws(TurnFailure) {
                let sealed = try await store.segment(key)
                pieces.append(sealed.entries)
                segment = sealed.previous
            } catch {
                problems.append("the transcript before is missing: \(words(error))")
                break
            }
        }
        return pieces.reversed().flatMap(\.self)
    }

    static func tree(of slot: Slot, in store: TurnStore, _ problems: inout [String]) async -> WorkspaceTree? {
        guard let hash = slot.state.workspace else { return WorkspaceTree() }
        do {
            return try WorkspaceTree(json: try await store.blob(hash))
        } catch {
            problems.append("the files are missing: \((error as? TurnFailure).map(words) ?? "\(error)")")
            return nil
        }
    }

    private static func usage(of slot: Slot) -> TurnUsage {
        for outbox in slot.outbox where outbox.topic == TurnsTopic.topic.name {
            // A record of another version says nothing that we could show.
            if let record = try? TurnRecord(json: outbox.value.bytes) { return record.usage }
        }
        return TurnUsage()
    }

    private static func json(
        _ slot: Slot,
        _ entries: [TranscriptEntry],
        _ tree: WorkspaceTree?,
        _ usage: TurnUsage,
        _ problems: [String]
    ) -> JSONValue {
        var value: [String: JSONValue] = [
            "conversation": .string(slot.state.conversation), "turn": .integer(slot.state.turn),
            "outcome": .string(slot.outcome.rawValue), "sealed_at": .string(slot.sealedAt.rfc3339),
            "state_hash": .string(slot.stateHash), "transcript": .array(entries.map(plain)),
            "memory": .object(slot.state.memory.mapValues { .string($0) }), "usage": plain(usage),
            "problems": .array(problems.map { .string($0) }),
        ]
        value["files"] = tree.map { .array($0.entries.map(plain)) }
        value["forked_from"] = slot.forkedFrom.map(plain)
        return .object(value)
    }

    /// Our own canonical JSON is always readable.
    static func plain(_ value: some JSONCoded) -> JSONValue {
        // It was written a moment ago by the same code.
        (try? JSONValue(json: value.json)) ?? .null
    }

    private static func line(_ entry: TranscriptEntry) -> String {
        let who = entry.role == .user || entry.role == .note ? entry.sender ?? "someone" : entry.role.rawValue
        let calls = entry.toolCalls.map {
            " [\($0.name) \(String(decoding: $0.arguments.json, as: UTF8.self))]"
        }
        return "\(entry.time.rfc3339) #\(entry.turn) \(who): \(entry.text)\(calls.joined())"
    }

    static func line(_ entry: WorkspaceEntry) -> String {
        let path = Terminal.printable(entry.path)
        return switch entry.node {
        case .directory(let mode): "d\(octal(mode))            \(path)/"
        case .file(let mode, let size, let hash):
            "-\(octal(mode)) \(String(size).padded(10)) \(path)  \(hash.prefix(12))"
        case .symlink(let target): "l               \(path) -> \(Terminal.printable(target))"
        }
    }

    private static func octal(_ mode: Int) -> String { String(mode, radix: 8).padded(4) }
}
