/// Help as text, from the table.
enum Help {
    static func text(_ command: Command, _ path: [String]) -> String {
        var parts = ["\(path.joined(separator: " ")): \(command.summary)"]
        parts.append("Usage: \(usage(command, path))")
        if !command.discussion.isEmpty { parts.append(command.discussion) }
        if !command.subcommands.isEmpty {
            parts.append("Commands:\n" + table(command.subcommands.map { ($0.name, $0.summary) }))
        }
        if !command.options.isEmpty { parts.append("Options:\n" + table(command.options.map(row))) }
        if !command.examples.isEmpty {
            parts.append(
                "Examples:\n"
                    + command.examples.map { "  \($0.command)\n      \($0.meaning)" }.joined(separator: "\n")
            )
        }
        parts.append("Everywhere:\n" + table(Command.common.map(row)))
        return parts.joined(separator: "\n\n") + "\n"
    }

    private static func usage(_ command: Command, _ path: [String]) -> String {
        var words = path
        if !command.subcommands.isEmpty { words.append("COMMAND") }
        words.append("[OPTIONS]")
        if !command.operands.isEmpty { words.append(command.operands) }
        return words.joined(separator: " ")
    }

    private static func row(_ option: Command.Option) -> (String, String) {
        ("--\(option.name)\(option.value.map { " \($0)" } ?? "")", option.help)
    }

    private static func table(_ rows: [(String, String)]) -> String {
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { "  \($0.0)\(String(repeating: " ", count: width - $0.0.count + 2))\($0.1)" }.joined(
            separator: "\n"
        )
    }
}
