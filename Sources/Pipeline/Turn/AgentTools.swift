import JSON
import Topics

package struct ToolResult: Sendable, Hashable {
    package let text: String
    package let isError: Bool

    package static func done(_ text: String) -> Self { Self(text: text, isError: false) }
    package static func error(_ text: String) -> Self { Self(text: text, isError: true) }
}

/// What a model may do besides talking: remember, read skills, and run them in their sandbox.
package struct AgentTools: Sendable {
    package let skills: SkillCatalog
    package let runner: SkillRunner
    package let definitions: [ModelTool]

    /// Longest value that a conversation remembers under one key, in bytes, and most keys.
    package static let memoryValueBytesMax = 4_096
    package static let memoryKeysMax = 256

    package init(skills: SkillCatalog, runner: SkillRunner) {
        self.skills = skills
        self.runner = runner
        definitions = Self.define(skills)
    }

    /// Runs one call. What the model got wrong is told to the model; only what no retry by the model can mend
    /// throws.
    package func run(
        _ call: ModelToolCall,
        draft: inout TurnDraft,
        steps: inout StepRecorder,
        workspace: inout TurnWorkspace,
        live: @escaping @Sendable (LivePart) -> Void
    ) async throws(TurnFailure) -> ToolResult {
        switch call.name {
        case ToolName.remember: return remember(call.arguments, in: &draft)
        case ToolName.recall: return recall(call.arguments, from: draft)
        case ToolName.listSkills: return .done(skills.listing)
        case ToolName.readSkill: return readSkill(call.arguments)
        case ToolName.runSkill:
            return try await runner.run(
                call.arguments,
                skills: skills,
                steps: &steps,
                workspace: &workspace,
                usage: &draft.usage,
                live: live
            )
        default:
            return .error(
                "There is no tool \"\(call.name)\". Use one of: "
                    + "\(definitions.map(\.name).joined(separator: ", "))."
            )
        }
    }

    private func remember(_ arguments: JSONValue, in draft: inout TurnDraft) -> ToolResult {
        guard let key = arguments["key"]?.stringValue, let value = arguments["value"]?.stringValue,
            !key.isEmpty
        else {
            return .error("remember needs \"key\" and \"value\", both text.")
        }
        guard value.utf8.count <= Self.memoryValueBytesMax, key.utf8.count <= 200 else {
            return .error(
                "Too long to remember: a value has at most \(Self.memoryValueBytesMax) bytes, a key 200."
            )
        }
        guard draft.state.memory[key] != nil || draft.state.memory.count < Self.memoryKeysMax else {
            return .error(
                "The memory is full: \(Self.memoryKeysMax) keys. Remember under one of those there are."
            )
        }
        draft.state.memory[key] = value
        return .done("I will remember that \(key) is \(value).")
    }

    private func recall(_ arguments: JSONValue, from draft: TurnDraft) -> ToolResult {
        guard let key = arguments["key"]?.stringValue, !key.isEmpty else {
            return .error("recall needs \"key\".")
        }
        guard let value = draft.state.memory[key] else {
            let known = draft.state.memory.keys.sorted().prefix(20).joined(separator: ", ")
            return .done("I remember nothing under \(key)." + (known.isEmpty ? "" : " I know: \(known)."))
        }
        return .done("\(key) is \(value).")
    }

    private func readSkill(_ arguments: JSONValue) -> ToolResult {
        guard let name = arguments["skill"]?.stringValue, let skill = skills[name] else {
            return .error(
                "There is no skill of that name. There are: \(skills.names.joined(separator: ", "))."
            )
        }
        guard let path = arguments["path"]?.stringValue else { return .done(skill.activation) }
        do {
            return .done(try skill.resource(path))
        } catch {
            return .error("\(name)/\(path): \(error.detail)")
        }
    }
}

/// The tools' names, as the model and the command router know them.
package enum ToolName {
    package static let remember = "remember"
    package static let recall = "recall"
    package static let listSkills = "list_skills"
    package static let readSkill = "read_skill"
    package static let runSkill = "run_skill"
}

extension AgentTools {
    private static func define(_ skills: SkillCatalog) -> [ModelTool] {
        var tools = [
            ModelTool(
                name: ToolName.remember,
                description: "Remember a value under a key for the rest of this conversation.",
                parameters: object(
                    ["key": text("Short name."), "value": text("What to remember.")],
                    "key",
                    "value"
                )
            ),
            ModelTool(
                name: ToolName.recall,
                description: "Read what was remembered under a key.",
                parameters: object(["key": text("The name it was remembered under.")], "key")
            ),
        ]
        guard !skills.skills.isEmpty else { return tools }
        let names = JSONValue.object([
            "type": "string",
            "enum": .array(skills.names.map { .string($0) }),
            "description": "Name of the skill.",
        ])
        tools += [
            ModelTool(
                name: ToolName.listSkills,
                description: "List the skills with what each is for.",
                parameters: object([:])
            ),
            ModelTool(
                name: ToolName.readSkill,
                description:
                    "Read a skill's instructions, or one of its files. Do this before you first run it.",
                parameters: object(
                    ["skill": names, "path": text("A file of the skill; its instructions when left out.")],
                    "skill"
                )
            ),
            ModelTool(
                name: ToolName.runSkill,
                description: """
                    Run a skill in its sandbox: its own script with "arguments", or any shell "command" \
                    with the skill's folder at /skills/NAME. No network. Files in /work are kept for later.
                    """,
                parameters: object(
                    [
                        "skill": names,
                        "arguments": text("Arguments for the skill's own script, as on a command line."),
                        "command": text("A bash command line, instead of the skill's own script."),
                        "input": text("What the program reads from its standard input."),
                    ],
                    "skill"
                )
            ),
        ]
        return tools
    }

    private static func object(_ properties: [String: JSONValue], _ required: String...) -> JSONValue {
        .object([
            "type": "object",
            "properties": .object(properties),
            "required": .array(required.map { .string($0) }),
            "additionalProperties": false,
        ])
    }

    private static func text(_ description: String) -> JSONValue {
        .object(["type": "string", "description": .string(description)])
    }
}
