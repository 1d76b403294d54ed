import JSON
package import Pipeline

/// No model at all: a router of commands, so that the whole pipeline runs and can be tried without one.
///
/// A pure function of the request. Commands become the same tool calls that a model would make, and a tool's
/// result is the answer.
package struct OfflineModel: ModelProvider {
    package let name = "offline"
    package let determinism = ModelDeterminism.deterministic

    package init() {}

    package func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let response = Self.answer(request)
        if !response.text.isEmpty { await part(.text(response.text)) }
        return response
    }

    private static func answer(_ request: ModelRequest) -> ModelResponse {
        guard let last = request.messages.last else { return say(greeting) }
        guard last.role == .user else {
            let results = request.messages.reversed().prefix { $0.role == .tool }.reversed()
            return say(results.map(\.text).joined(separator: "\n"))
        }
        guard let (command, rest) = Self.command(in: last.text) else {
            return say("No model is configured, so I only know commands: /help lists them.")
        }
        return run(command, rest, request)
    }

    private static func run(_ command: String, _ rest: String, _ request: ModelRequest) -> ModelResponse {
        let skills = Self.skills(request)
        switch command {
        case "help", "start": return say(help(skills))
        case "skills":
            return skills.isEmpty ? say("There are no skills here.") : call(ToolName.listSkills, [:])
        case "remember":
            let words = rest.split(maxSplits: 1, whereSeparator: \.isWhitespace)
            guard words.count == 2 else { return say("Usage: /remember KEY VALUE") }
            return call(
                ToolName.remember,
                ["key": .string(String(words[0])), "value": .string(String(words[1]))]
            )
        case "recall":
            guard !rest.isEmpty else { return say("Usage: /recall KEY") }
            return call(ToolName.recall, ["key": .string(rest)])
        default:
            let slashNames = SkillCatalog.slashNames(skills)
            let wanted = command.replacing("-", with: "_")
            guard let skill = skills.first(where: { slashNames[$0] == wanted }) else {
                return say("I do not know /\(command). /help lists what I know.")
            }
            return call(ToolName.runSkill, ["skill": .string(skill), "arguments": .string(rest)])
        }
    }

    /// `/word rest`, after any mentions of the agent; nil when the text is no command.
    static func command(in text: String) -> (name: String, rest: String)? {
        var text = text[...].drop(while: \.isWhitespace)
        while let end = mentionEnd(text) {
            text = text[end...].drop { $0.isWhitespace || $0 == ":" || $0 == "," }
        }
        guard text.first == "/" else { return nil }
        let word = text.dropFirst().prefix { !$0.isWhitespace }
        guard !word.isEmpty else { return nil }
        var rest = text.dropFirst(1 + word.count).drop(while: \.isWhitespace)
        while rest.last?.isWhitespace == true { rest.removeLast() }
        // Telegram's way to say whom a command is for: /help@some_bot.
        let name = word.prefix { $0 != "@" }.lowercased()
        return name.isEmpty ? nil : (name, String(rest))
    }

    /// Where a leading mention ends: `<@U123>`, `<@U123|name>` or `@name`.
    private static func mentionEnd(_ text: Substring) -> Substring.Index? {
        if text.hasPrefix("<@") { return text.firstIndex(of: ">").map { text.index(after: $0) } }
        guard text.first == "@" else { return nil }
        return text.firstIndex(where: \.isWhitespace) ?? text.endIndex
    }

    /// The skills' names, from the definition of the tool that runs them.
    private static func skills(_ request: ModelRequest) -> [String] {
        let tool = request.tools.first { $0.name == ToolName.runSkill }
        return tool?.parameters["properties"]?["skill"]?["enum"]?.arrayValue?.compactMap(\.stringValue) ?? []
    }

    private static let greeting = "Hello. /help lists what I know."

    private static func help(_ skills: [String]) -> String {
        var lines = [
            "No model is configured; these commands work:",
            "/help: this list",
            "/remember KEY VALUE: keep something for this conversation",
            "/recall KEY: read it again",
        ]
        if !skills.isEmpty { lines.append("/skills: what the skills are for") }
        let slashNames = SkillCatalog.slashNames(skills)
        lines += skills.map { "/\(slashNames[$0] ?? $0) …: run the skill \($0) in its sandbox" }
        return lines.joined(separator: "\n")
    }

    private static func say(_ text: String) -> ModelResponse {
        ModelResponse(text: text, toolCalls: [], stop: .end, usage: ModelUsage(), model: "offline")
    }

    private static func call(_ tool: String, _ arguments: [String: JSONValue]) -> ModelResponse {
        let call = ModelToolCall(id: "offline", name: tool, arguments: .object(arguments))
        return ModelResponse(text: "", toolCalls: [call], stop: .tools, usage: ModelUsage(), model: "offline")
    }
}
