/// One command of the tree: what it is called, what it takes, what it does. Help, errors and completions come
/// from this table.
struct Command: Sendable {
    struct Option: Sendable {
        let name: String
        /// What stands for the value in help; nil for a switch.
        let value: String?
        let help: String

        static func value(_ name: String, _ value: String, _ help: String) -> Option {
            Option(name: name, value: value, help: help)
        }

        static func flag(_ name: String, _ help: String) -> Option {
            Option(name: name, value: nil, help: help)
        }
    }

    let name: String
    let summary: String
    /// What follows the options, as shown in usage: `ID [--] TEXT…`.
    var operands = ""
    /// How many operands are taken.
    var operandCount = 0...0
    /// A second paragraph of help.
    var discussion = ""
    var examples: [(command: String, meaning: String)] = []
    var options: [Option] = []
    var subcommands: [Command] = []
    /// All after the first operand belongs to it, options included: `sandbox run -- CMD…`.
    var takesRest = false
    var run: (@Sendable (Invocation) async throws -> Int32)?

    /// Options that every command has.
    static let common: [Option] = [
        .value("config", "FILE", "settings file; else $PENSTOCK_CONFIG, else ./penstock.yaml, else defaults"),
        .flag("json", "one JSON value a line"),
        .value("log-level", "LEVEL", "trace, debug, info, warning or error"),
        .value("log-format", "FORMAT", "text or json"),
        .flag("help", "this text"),
    ]
}

/// A command as it was called.
struct Invocation: Sendable {
    let command: Command
    let path: [String]
    let options: [String: String]
    let operands: [String]

    func has(_ name: String) -> Bool { options[name] != nil }
    func value(_ name: String) -> String? { options[name] }
    var isJSON: Bool { has("json") }

    func integer(_ name: String, in range: ClosedRange<Int>, default fallback: Int) throws -> Int {
        guard let text = options[name] else { return fallback }
        guard let value = Int(text), range.contains(value) else {
            throw UsageError(
                "--\(name) \(text): expected a whole number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return value
    }
}

/// Wrong use or settings: exit code 2.
struct UsageError: Error {
    let message: String

    init(_ message: String) {
        self.message = message
    }
}

/// The thing was understood and did not work: exit code 1.
struct Failure: Error {
    let message: String

    init(_ message: String) {
        self.message = message
    }
}
