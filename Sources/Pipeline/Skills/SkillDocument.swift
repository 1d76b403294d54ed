import YAML

/// A SKILL.md taken apart: the frontmatter's fields and the body. Tolerant, because more than half of the
/// published skills break the format's own rules and still mean something.
package struct SkillDocument: Sendable, Hashable {
    package var name: String?
    package var description: String?
    package var license: String?
    package var compatibility: String?
    package var isHiddenFromModels = false
    /// `metadata.penstock.run`
    package var entryPoint: String?
    package var requirements = SkillRequirements()
    /// Names of all top-level fields, in order.
    package var fields: [String] = []
    package var body = ""

    /// Diagnostics carry the line within the file. Nil when there is no frontmatter at all.
    package static func parse(_ bytes: [UInt8], path: String) -> (SkillDocument?, [SkillDiagnostic]) {
        let text = String(decoding: bytes, as: UTF8.self)
            .replacing("\r\n", with: "\n").replacing("\r", with: "\n").dropByteOrderMark
        guard let (front, body) = split(text) else {
            return (
                nil,
                [
                    SkillDiagnostic(
                        .error,
                        path,
                        line: 1,
                        "no frontmatter: the file must start with a line of ---"
                    )
                ]
            )
        }
        var diagnostics: [SkillDiagnostic] = []
        if String(validating: bytes, as: UTF8.self) == nil {
            diagnostics.append(
                SkillDiagnostic(.warning, path, "not UTF-8 everywhere; the bytes in question were replaced")
            )
        }
        var document = SkillDocument()
        document.body = body.trimmingBlank
        do throws(YAMLError) {
            if let root = try YAML.parse(Array(front.utf8), .lenient) { document.take(root) }
        } catch {
            diagnostics.append(
                SkillDiagnostic(
                    .warning,
                    path,
                    line: error.line + 1,
                    "frontmatter is not YAML (\(error.message)); read line by line"
                )
            )
            document.takeLines(front)
        }
        return (document, diagnostics)
    }

    private static func split(_ text: String) -> (front: String, body: String)? {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.first?.trimmingBlank == "---",
            let end = lines.dropFirst().firstIndex(where: { $0.hasPrefix("---") })
        else { return nil }
        return (
            lines[1..<end].joined(separator: "\n"),
            lines[(end + 1)...].joined(separator: "\n")
        )
    }

    private mutating func take(_ root: YAMLNode) {
        for entry in root.entries ?? [] {
            guard let key = entry.key.text else { continue }
            fields.append(key)
            take(key, entry.value)
        }
    }

    private mutating func take(_ key: String, _ value: YAMLNode) {
        switch key {
        case "name": name = value.text?.trimmingBlank
        case "description": description = value.text?.trimmingBlank
        case "license": license = value.text
        case "compatibility": compatibility = value.text
        case "disable-model-invocation": isHiddenFromModels = Self.isYes(value.text)
        case "metadata": takeMetadata(value)
        default: break
        }
    }

    private mutating func takeMetadata(_ value: YAMLNode) {
        // Often written as JSON in a string, and JSON is YAML.
        var metadata = value
        if let text = value.text, let parsed = (try? YAML.parse(Array(text.utf8), .lenient)) ?? nil {
            // A string that is not YAML either says nothing to us.
            metadata = parsed
        }
        if let run = metadata["penstock"]?["run"]?.text { entryPoint = run }
        for name in ["openclaw", "clawdbot", "moltbot", "clawdis"] {
            guard let block = metadata[name] else { continue }
            requirements.isAlways = Self.isYes(block["always"]?.text)
            requirements.systems = Self.list(block["os"])
            requirements.programs = Self.list(block["requires"]?["bins"])
            requirements.anyPrograms = Self.list(block["requires"]?["anyBins"])
            requirements.environment = Self.list(block["requires"]?["env"])
            return
        }
    }

    /// For frontmatter that is not YAML: `name: value` on lines of their own, quotes around a value dropped.
    private mutating func takeLines(_ front: String) {
        for line in front.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":"), line.first?.isWhitespace == false, line.first != "#"
            else { continue }
            let key = line[..<colon].trimmingBlank
            var text = line[line.index(after: colon)...].trimmingBlank
            if text.count >= 2, let quote = text.first, quote == "\"" || quote == "'", text.last == quote {
                text = String(text.dropFirst().dropLast())
            }
            fields.append(key)
            guard !text.isEmpty else { continue }
            take(key, YAMLNode(content: .scalar(text, isPlain: false), line: 1, column: 1))
        }
    }

    private static func isYes(_ text: String?) -> Bool {
        ["true", "1", "yes", "on"].contains(text?.lowercased() ?? "")
    }

    /// A list, or words with commas between.
    private static func list(_ node: YAMLNode?) -> [String] {
        if let elements = node?.elements { return elements.compactMap(\.text) }
        return node?.text?.split(separator: ",").map { $0.trimmingBlank }.filter { !$0.isEmpty } ?? []
    }
}

extension StringProtocol {
    var trimmingBlank: String {
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

extension String {
    fileprivate var dropByteOrderMark: String {
        unicodeScalars.first == "\u{FEFF}" ? String(unicodeScalars.dropFirst()) : self
    }
}
