package import JSON
import YAML

/// A SKILL.md taken apart: the frontmatter's fields and the body.
///
/// Tolerant: more than half of the published skills break the format's own rules and still mean something.
package struct SkillDocument: Sendable, Hashable {
    package var name: String?
    package var description: String?
    package var license: String?
    package var compatibility: String?
    package var allowedTools: [String] = []
    package var isHiddenFromModels = false
    package var isInvocable = true
    /// `metadata.penstock.run`
    package var entryPoint: String?
    package var requirements = SkillRequirements()
    package var metadata = JSONValue.object([:])
    /// Names of all top-level fields, in order.
    package var fields: [String] = []
    package var body = ""
    /// The frontmatter needed mending before it could be read.
    package var isMended = false

    /// Diagnostics carry the line within the file. Nil when there is no frontmatter at all.
    package static func parse(_ bytes: [UInt8], path: String) -> (SkillDocument?, [SkillDiagnostic]) {
        let front: Frontmatter
        do throws(Frontmatter.Problem) {
            front = try Frontmatter(bytes)
        } catch {
            return (nil, [SkillDiagnostic(.error, path, line: 1, error.message)])
        }
        var diagnostics: [SkillDiagnostic] = []
        if String(validating: bytes, as: UTF8.self) == nil {
            diagnostics.append(
                SkillDiagnostic(.warning, path, "not UTF-8 everywhere; the bytes in question were replaced")
            )
        }
        var document = SkillDocument()
        document.body = front.body
        if let problem = document.take(front) {
            document.isMended = true
            diagnostics.append(
                SkillDiagnostic(
                    .warning,
                    path,
                    line: problem.line,
                    "frontmatter is not YAML: \(problem.message)"
                )
            )
        }
        return (document, diagnostics)
    }

    private struct Problem {
        let line: Int
        let message: String
    }

    /// Returns what was wrong with the YAML, if anything.
    private mutating func take(_ front: Frontmatter) -> Problem? {
        let problem: Problem
        do throws(YAMLError) {
            guard let root = try YAML.parse(Array(front.block.utf8), .lenient) else { return nil }
            if root.entries != nil {
                take(root, front)
                return nil
            }
            problem = Problem(line: root.line, message: "it has no fields; write name: …")
        } catch {
            problem = Problem(line: error.line, message: error.message)
        }
        // Mended YAML keeps its structure, so what gates the skill is still read; lines do not.
        if let root = Self.yaml(front.quoted), root.entries != nil {
            take(root, front)
        } else {
            for field in front.fields { take(field.key, Self.node(field)) }
        }
        return problem
    }

    private mutating func take(_ root: YAMLNode, _ front: Frontmatter) {
        var raw: [Frontmatter.Field]?
        for entry in root.entries ?? [] {
            guard let key = entry.key.text else { continue }
            var value = entry.value
            if key == "name" || key == "description", value.text == nil {
                // `description: [Beta] …` is a list to YAML and a sentence to its author.
                raw = raw ?? front.fields
                if let field = raw?.first(where: { $0.key == key }) { value = Self.node(field) }
            }
            take(key, value)
        }
    }

    private mutating func take(_ key: String, _ value: YAMLNode) {
        if !fields.contains(key) { fields.append(key) }
        let text = value.isNull ? nil : value.text?.trimmingBlank
        switch key {
        case "name": name = text
        case "description": description = text
        case "license": license = text
        case "compatibility": compatibility = text
        case "allowed-tools": allowedTools = Self.words(value)
        case "disable-model-invocation": isHiddenFromModels = Self.bool(text) ?? isHiddenFromModels
        case "user-invocable": isInvocable = Self.bool(text) ?? isInvocable
        case "metadata": takeMetadata(value)
        default: break
        }
    }

    private mutating func takeMetadata(_ value: YAMLNode) {
        // Often written as JSON in a string, and JSON is YAML.
        let root = value.text.flatMap(Self.yaml) ?? value
        metadata = root.entries == nil ? .object([:]) : root.json
        entryPoint = root["penstock"]?["run"]?.text ?? root["penstock.run"]?.text
        for name in ["openclaw", "clawdbot", "moltbot", "clawdis"] {
            guard let named = root[name] else { continue }
            let block = named.text.flatMap(Self.yaml) ?? named
            requirements.isAlways = Self.bool(block["always"]?.text) ?? false
            requirements.systems = Self.list(block["os"])
            requirements.programs = Self.list(block["requires"]?["bins"])
            requirements.anyPrograms = Self.list(block["requires"]?["anyBins"])
            requirements.environment = Self.list(block["requires"]?["env"])
            requirements.settings = Self.list(block["requires"]?["config"])
            return
        }
    }

    private static func node(_ field: Frontmatter.Field) -> YAMLNode {
        YAMLNode(content: .scalar(field.text, isPlain: false), line: field.line, column: 1)
    }

    private static func yaml(_ text: String) -> YAMLNode? {
        // What is no YAML here is read in another way by every caller.
        (try? YAML.parse(Array(text.utf8), .lenient)) ?? nil
    }

    private static func bool(_ text: String?) -> Bool? {
        switch text?.lowercased() {
        case "true", "1", "yes", "on": true
        case "false", "0", "no", "off": false
        default: nil
        }
    }

    /// A list, or words with commas between.
    private static func list(_ node: YAMLNode?) -> [String] {
        if let elements = node?.elements {
            return elements.compactMap { $0.text?.trimmingBlank }.filter { !$0.isEmpty }
        }
        return node?.text?.split(separator: ",").map { $0.trimmingBlank }.filter { !$0.isEmpty } ?? []
    }

    /// A list, or words with blanks between, those within parentheses apart: `Bash(git add:*) Read`.
    private static func words(_ node: YAMLNode) -> [String] {
        if node.elements != nil { return list(node) }
        var words: [String] = []
        var word = ""
        var depth = 0
        for character in node.text ?? "" {
            if character == "(" { depth += 1 }
            if character == ")", depth > 0 { depth -= 1 }
            if depth == 0, character.isWhitespace || character == "," {
                if !word.isEmpty { words.append(word) }
                word = ""
            } else {
                word.append(character)
            }
        }
        return word.isEmpty ? words : words + [word]
    }
}

extension Frontmatter.Problem {
    fileprivate var message: String {
        switch self {
        case .missing: "no frontmatter: the file must start with a line of ---"
        case .unterminated: "the frontmatter has no end: a second line of --- is missing"
        case .tooLarge: "the frontmatter has more than \(Frontmatter.bytesMax) bytes"
        }
    }
}

extension YAMLNode {
    /// Of a name that is there twice the first counts.
    fileprivate var json: JSONValue {
        switch content {
        case .sequence(let elements): return .array(elements.map(\.json))
        case .mapping(let entries):
            let members = entries.compactMap { entry in entry.key.text.map { ($0, entry.value.json) } }
            return .object(Dictionary(members) { first, _ in first })
        case .scalar(let text, _):
            if isNull { return .null }
            if let bool { return .bool(bool) }
            return integer.map { .integer(Int64($0)) } ?? .string(text)
        }
    }
}
