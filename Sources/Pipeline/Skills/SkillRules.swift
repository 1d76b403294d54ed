import JSON

/// The format's own rules (agentskills.io), for `skills check`; loading does not depend on them.
package enum SkillRules {
    private static let fields = [
        "name", "description", "license", "compatibility", "metadata", "allowed-tools",
    ]

    /// What breaks them, in words; empty when nothing does.
    package static func check(_ document: SkillDocument, folder: String) -> [String] {
        var problems: [String] = []
        if document.isMended { problems.append("the frontmatter is not YAML") }
        if let problem = problem(name: document.name, folder: folder) { problems.append(problem) }
        let description = document.description ?? ""
        if description.isEmpty { problems.append("description is missing") }
        let length = description.unicodeScalars.count
        if length > 1_024 {
            problems.append("description has \(length) characters, at most 1024 are allowed")
        }
        if let compatibility = document.compatibility?.unicodeScalars.count, compatibility > 500 {
            problems.append("compatibility has \(compatibility) characters, at most 500 are allowed")
        }
        for (name, value) in (document.metadata.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) {
            switch value {
            case .array, .object: problems.append("metadata.\(name) is not text: metadata is words by names")
            default: break
            }
        }
        for field in document.fields where !fields.contains(field) {
            problems.append("\(field) is no field of the format: use \(fields.joined(separator: ", "))")
        }
        return problems
    }

    static func problem(name: String?, folder: String) -> String? {
        guard let name, !name.isEmpty else { return "name is missing; the folder's name is used" }
        let isFormed =
            name.unicodeScalars.count <= 64 && !name.hasPrefix("-") && !name.hasSuffix("-")
            && !name.contains("--")
            && name.allSatisfy { $0 == "-" || $0.isNumber || $0.isLetter && $0.lowercased() == String($0) }
        guard isFormed else { return "name must be 1…64 lower-case letters, digits and single hyphens" }
        return name == folder ? nil : "name \(name) is not the folder's name, \(folder)"
    }
}
