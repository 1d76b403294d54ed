import Crypto

/// The skills that there are, by name.
package struct SkillCatalog: Sendable, Hashable {
    package let skills: [Skill]
    package let diagnostics: [SkillDiagnostic]
    /// SHA-256 of what was loaded, hex: it tells two sets of skills apart.
    package let digest: String
    /// The command that calls each skill, without its slash, by the skill's name.
    package let slashNames: [String: String]

    /// Of two skills with one name the later wins.
    package init(skills: [Skill] = [], diagnostics: [SkillDiagnostic] = []) {
        let byName = Dictionary(skills.map { ($0.name, $0) }) { $1 }
        self.skills = byName.values.sorted { $0.name < $1.name }
        self.diagnostics = diagnostics
        digest = SHA256.hex(Array(self.skills.map { "\($0.name) \($0.digest)\n" }.joined().utf8))
        slashNames = Self.slashNames(self.skills.map(\.name))
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
        let visible = skills.filter { !$0.isHiddenFromModels && $0.missing.isEmpty }
        guard !visible.isEmpty else { return "" }
        let entries = visible.map { skill in
            "<skill><name>\(Skill.escaped(skill.name))</name>"
                + "<description>\(Skill.escaped(skill.description))</description>"
                + "<location>\(Skill.escaped(skill.insidePath))/SKILL.md</location></skill>"
        }
        return "<available_skills>\n\(entries.joined(separator: "\n"))\n</available_skills>"
    }

    /// Commands that are not skills.
    package static let reservedSlashNames: Set<String> = ["help", "recall", "remember", "skills", "start"]

    /// A command's word for each name: at most 32 of `[a-z0-9_]`; `_2`, `_3` … where an earlier name took it.
    package static func slashNames(_ names: [String]) -> [String: String] {
        var taken = reservedSlashNames
        var slashNames: [String: String] = [:]
        for name in names where slashNames[name] == nil {
            let base = String(
                name.lowercased().prefix(32).map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
            )
            var candidate = base
            var number = 2
            while !taken.insert(candidate).inserted {
                let suffix = "_\(number)"
                candidate = base.prefix(32 - suffix.count) + suffix
                number += 1
            }
            slashNames[name] = candidate
        }
        return slashNames
    }
}
