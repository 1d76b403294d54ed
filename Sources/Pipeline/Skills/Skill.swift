/// A skill as it was loaded: a folder with a SKILL.md (agentskills.io).
package struct Skill: Sendable, Hashable {
    package let name: String
    package let description: String
    /// SKILL.md after its frontmatter, `{baseDir}` replaced by where the skill finds itself.
    package let body: String
    /// The skill's folder on this machine.
    package let directory: String
    /// The script that `/<skill> arguments` runs, relative to the folder; nil when there is none to run.
    package let entryPoint: String?
    /// Hidden from models; a person can still call it.
    package let isHiddenFromModels: Bool
    package let requirements: SkillRequirements
    /// Files of the folder, relative, sorted; at most `resourcesMax`.
    package let resources: [String]

    package static let resourcesMax = 200
    package static let resourceBytesMax = 64 * 1_024

    /// Where the sandbox shows the folder.
    package var insidePath: String { "/skills/\(name)" }

    /// What a model gets when it reads the skill.
    package var activation: String {
        let files = resources.map { "  <file>\(Self.escaped($0))</file>" }.joined(separator: "\n")
        return """
            <skill_content name="\(Self.escaped(name))">
            \(body)
            </skill_content>
            <skill_resources directory="\(Self.escaped(insidePath))">
            \(files)
            </skill_resources>
            """
    }

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&apos;"
            default: escaped.append(character)
            }
        }
        return escaped
    }
}

/// What a skill says that it needs.
package struct SkillRequirements: Sendable, Hashable {
    package var isAlways = false
    package var systems: [String] = []
    package var programs: [String] = []
    package var anyPrograms: [String] = []
    package var environment: [String] = []

    package init() {}
}

/// Something about a skill that its author or the operator should know.
package struct SkillDiagnostic: Sendable, Hashable {
    package enum Severity: String, Sendable {
        case warning
        /// The skill was not loaded.
        case error
    }

    package let severity: Severity
    package let path: String
    package let line: Int?
    package let message: String

    package init(_ severity: Severity, _ path: String, line: Int? = nil, _ message: String) {
        self.severity = severity
        self.path = path
        self.line = line
        self.message = message
    }
}

/// The skills that there are, by name.
package struct SkillCatalog: Sendable, Hashable {
    package let skills: [Skill]
    package let diagnostics: [SkillDiagnostic]

    /// - Parameter skills: of two with one name the later wins.
    package init(skills: [Skill] = [], diagnostics: [SkillDiagnostic] = []) {
        let byName = Dictionary(skills.map { ($0.name, $0) }) { $1 }
        self.skills = byName.values.sorted { $0.name < $1.name }
        self.diagnostics = diagnostics
    }

    package var names: [String] { skills.map(\.name) }

    package subscript(name: String) -> Skill? {
        skills.first { $0.name == name }
    }

    /// For people.
    package var listing: String {
        skills.map { "\($0.name): \($0.description)" }.joined(separator: "\n")
    }

    /// For the model; empty when it may use none.
    package var prompt: String {
        let visible = skills.filter { !$0.isHiddenFromModels }
        guard !visible.isEmpty else { return "" }
        let entries = visible.map { skill in
            "<skill><name>\(Skill.escaped(skill.name))</name>"
                + "<description>\(Skill.escaped(skill.description))</description>"
                + "<location>\(Skill.escaped(skill.insidePath))/SKILL.md</location></skill>"
        }
        return "<available_skills>\n\(entries.joined(separator: "\n"))\n</available_skills>"
    }
}
