import JSON
import Pipeline

extension ConversationsCommand {
    static func files(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        let store = TurnStore(composition.store)
        let slot = try await slot(invocation, in: store)
        var problems: [String] = []
        guard let tree = await tree(of: slot, in: store, &problems) else {
            throw Failure(problems.joined(separator: "; "))
        }
        guard invocation.operands.count == 2 else { return list(tree.entries, invocation.isJSON) }
        let wanted = Array(invocation.operands[1].utf8)
        let path = wanted.last == UInt8(ascii: "/") ? Array(wanted.dropLast()) : wanted
        guard let entry = tree.entries.first(where: { $0.path == path }) else {
            let names = tree.entries.map { Terminal.printable($0.path) }
            let guess = Spelling.nearest(invocation.operands[1], in: names).map { "; did you mean \($0)?" }
            throw Failure(
                "there is no file \(invocation.operands[1]) after turn \(slot.state.turn)\(guess ?? "")"
            )
        }
        switch entry.node {
        case .directory:
            let inside = tree.entries.filter { $0.path.starts(with: path + [UInt8(ascii: "/")]) }
            return list(inside, invocation.isJSON)
        case .symlink(let target):
            throw Failure("\(invocation.operands[1]) is a link to \(Terminal.printable(target))")
        case .file(_, _, let hash):
            do throws(TurnFailure) {
                Terminal.bytes(try await store.blob(hash))
                return 0
            } catch {
                throw Failure(words(error))
            }
        }
    }

    private static func list(_ entries: [WorkspaceEntry], _ isJSON: Bool) -> Int32 {
        for entry in entries {
            if isJSON { Terminal.json(plain(entry)) } else { Terminal.line(line(entry)) }
        }
        return 0
    }
}
