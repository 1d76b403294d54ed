package import JSON

/// A skill as it was loaded: a folder with a SKILL.md (agentskills.io).
package struct Skill: Sendable, Hashable {
    /// 1…64 of `a-z 0-9 -`, whatever the file says: it is a path segment and a command's word.
    package let name: String
    /// One line.
    package let description: String
    /// SKILL.md after its frontmatter, `{baseDir}` replaced by where the skill finds itself.
    package let body: String
    /// The skill's folder on this machine, without links.
    package let directory: String
    /// Its SKILL.md as it was found.
    package let document: String
    /// The script that `/<skill> arguments` runs, relative to the folder; nil when there is none to run.
    package let entryPoint: String?
    /// Hidden from models; a person can still call it.
    package let isHiddenFromModels: Bool
    /// A person can call it.
    package let isInvocable: Bool
    package let license: String?
    package let compatibility: String?
    package let allowedTools: [String]
    /// The whole `metadata`, an object.
    package let metadata: JSONValue
    package let requirements: SkillRequirements
    /// What of the requirements is missing where skills run, in words; the skill is then kept from models.
    package let missing: [String]
    /// Files of the folder, relative, sorted; at most `resourcesMax`.
    package let resources: [String]
    /// SHA-256 of the document and the files, hex.
    package let digest: String

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

package struct SkillResourceError: Error {
    package let detail: String
}

extension Skill {
    /// A text file of the skill.
    package func resource(_ path: String) throws(SkillResourceError) -> String {
        guard resources.contains(path) else {
            throw SkillResourceError(
                detail: "no such file; there are: \(resources.prefix(50).joined(separator: ", "))"
            )
        }
        guard let bytes = FileTree.read("\(directory)/\(path)", bytesMax: Self.resourceBytesMax) else {
            throw SkillResourceError(
                detail: "can not be read, or has more than \(Self.resourceBytesMax) bytes"
            )
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw SkillResourceError(detail: "not text; run a command on it instead")
        }
        return text
    }
}
