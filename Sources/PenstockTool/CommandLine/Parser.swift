import Pipeline

/// Finds the command that the words mean, with its options and operands. A pure function of the table.
enum Parser {
    static func parse(_ words: [String], _ root: Command) throws(UsageError) -> Invocation {
        var command = root
        var path = [root.name]
        var options: [String: String] = [:]
        var operands: [String] = []
        var rest = words[...]
        while let word = rest.popFirst() {
            if word == "--" {
                operands += rest
                break
            }
            if word.hasPrefix("-"), word != "-" {
                try takeOption(word, &rest, command, path, &options)
            } else if operands.isEmpty, !command.subcommands.isEmpty {
                guard let next = command.subcommands.first(where: { $0.name == word }) else {
                    throw unknown(word, command, path)
                }
                command = next
                path.append(word)
            } else {
                operands.append(word)
                if command.takesRest {
                    operands += rest
                    break
                }
            }
        }
        if options["help"] == nil, options["version"] == nil {
            try check(operands, command, path)
        }
        return Invocation(command: command, path: path, options: options, operands: operands)
    }

    private static func takeOption(
        _ word: String,
        _ rest: inout ArraySlice<String>,
        _ command: Command,
        _ path: [String],
        _ options: inout [String: String]
    ) throws(UsageError) {
        let body = word == "-h" ? "help" : String(word.dropFirst(word.hasPrefix("--") ? 2 : 1))
        let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
            String.init
        )
        let known = command.options + Command.common
        guard let option = known.first(where: { $0.name == parts[0] }) else {
            let guess =
                Spelling.nearest(parts[0], in: known.map(\.name)).map { " Did you mean --\($0)?" } ?? ""
            throw UsageError(
                "there is no option \(word).\(guess) \(path.joined(separator: " ")) --help lists them."
            )
        }
        guard let placeholder = option.value else {
            guard parts.count == 1 else { throw UsageError("--\(option.name) takes no value") }
            options[option.name] = ""
            return
        }
        guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
            throw UsageError("--\(option.name) needs a value: --\(option.name) \(placeholder)")
        }
        options[option.name] = value
    }

    private static func check(_ operands: [String], _ command: Command, _ path: [String]) throws(UsageError) {
        let name = path.joined(separator: " ")
        guard command.run != nil else {
            let names = command.subcommands.map(\.name).joined(separator: ", ")
            throw UsageError("\(name): say what to do: \(names). \(name) --help tells more.")
        }
        guard command.operandCount.contains(operands.count) else {
            let wanted = command.operands.isEmpty ? "nothing" : command.operands
            throw UsageError(
                "\(name) takes \(wanted); got \(operands.count) words. \(name) --help tells more."
            )
        }
    }

    private static func unknown(_ word: String, _ command: Command, _ path: [String]) -> UsageError {
        let names = command.subcommands.map(\.name)
        let guess = Spelling.nearest(word, in: names).map { " Did you mean \($0)?" } ?? ""
        let name = path.joined(separator: " ")
        return UsageError(
            "\(name): there is no command \(word).\(guess) There are: \(names.joined(separator: ", "))."
        )
    }

    /// What may come next after these words, for a shell's completion.
    static func completions(_ words: [String], _ root: Command) -> [String] {
        var command = root
        for word in words.dropLast() {
            if let next = command.subcommands.first(where: { $0.name == word }) { command = next }
        }
        let last = words.last ?? ""
        let options = (command.options + Command.common).map { "--\($0.name)" }
        return (last.hasPrefix("-") ? options : command.subcommands.map(\.name)).filter { $0.hasPrefix(last) }
            .sorted()
    }
}
