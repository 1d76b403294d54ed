import Glibc

/// Finds skills below folders and loads them. A skill that cannot be loaded is a diagnostic and hides no
/// other.
package enum SkillLoader {
    package static let depthMax = 6
    package static let foldersMax = 2_000
    package static let documentBytesMax = 1 << 20

    /// - Parameter roots: later ones win where two skills have one name. A root that is itself a skill counts
    ///   as one.
    package static func load(_ roots: [String]) -> SkillCatalog {
        var skills: [Skill] = []
        var diagnostics: [SkillDiagnostic] = []
        for root in roots {
            guard let real = FileTree.realPath(root) else {
                diagnostics.append(
                    SkillDiagnostic(
                        .error,
                        root,
                        "the folder of skills can not be read: \(String(cString: strerror(errno)))"
                    )
                )
                continue
            }
            for folder in folders(below: real) {
                let (skill, found) = load(folder: folder)
                diagnostics += found
                if let skill { skills.append(skill) }
            }
        }
        return SkillCatalog(skills: skills, diagnostics: diagnostics)
    }

    /// Folders that hold a SKILL.md; nothing below such a folder is looked at.
    private static func folders(below root: String) -> [String] {
        var found: [String] = []
        var seen: Set<String> = []
        var queue = [(root, 0)]
        while !queue.isEmpty, seen.count < foldersMax {
            let (folder, depth) = queue.removeFirst()
            guard let real = FileTree.realPath(folder), seen.insert(real).inserted else { continue }
            if FileTree.isFile("\(folder)/SKILL.md") || FileTree.isFile("\(folder)/skill.md") {
                found.append(folder)
                continue
            }
            guard depth < depthMax else { continue }
            for name in FileTree.names(in: folder) where !name.hasPrefix(".") && name != "node_modules" {
                if FileTree.isFolder("\(folder)/\(name)") { queue.append(("\(folder)/\(name)", depth + 1)) }
            }
        }
        return found.sorted()
    }

    package static func load(folder: String) -> (Skill?, [SkillDiagnostic]) {
        let path = FileTree.isFile("\(folder)/SKILL.md") ? "\(folder)/SKILL.md" : "\(folder)/skill.md"
        guard let bytes = FileTree.read(path, bytesMax: documentBytesMax) else {
            return (
                nil,
                [SkillDiagnostic(.error, path, "can not be read, or has more than \(documentBytesMax) bytes")]
            )
        }
        let (parsed, found) = SkillDocument.parse(bytes, path: path)
        var diagnostics = found
        guard let document = parsed else { return (nil, diagnostics) }
        let folderName = String(
            folder[(folder.lastIndex(of: "/").map { folder.index(after: $0) } ?? folder.startIndex)...]
        )
        guard let description = document.description, !description.isEmpty else {
            diagnostics.append(
                SkillDiagnostic(.error, path, "no description: a model could never tell when to use it")
            )
            return (nil, diagnostics)
        }
        let name = clean(document.name ?? folderName)
        guard !name.isEmpty else {
            diagnostics.append(
                SkillDiagnostic(.error, path, "no usable name: lower-case letters, digits and hyphens")
            )
            return (nil, diagnostics)
        }
        if let problem = SkillRules.problem(name: document.name, folder: folderName) {
            diagnostics.append(SkillDiagnostic(.warning, path, problem))
        }
        let resources = FileTree.files(below: folder, most: Skill.resourcesMax, depthMax: depthMax)
        let skill = Skill(
            name: name,
            description: String(description.prefix(1_024)),
            body: document.body.replacing("{baseDir}", with: "/skills/\(name)"),
            directory: folder,
            entryPoint: entryPoint(document, folder, resources, &diagnostics, path),
            isHiddenFromModels: document.isHiddenFromModels,
            requirements: document.requirements,
            resources: resources
        )
        return (skill, diagnostics)
    }

    /// As a path segment and a command's word: what does not fit becomes a hyphen.
    private static func clean(_ name: String) -> String {
        let mapped = name.lowercased().map { character -> Character in
            character.isASCII && (character.isLetter || character.isNumber) ? character : "-"
        }
        let words = String(mapped).split(separator: "-")
        return String(words.joined(separator: "-").prefix(64))
    }

    private static func entryPoint(
        _ document: SkillDocument,
        _ folder: String,
        _ resources: [String],
        _ diagnostics: inout [SkillDiagnostic],
        _ path: String
    ) -> String? {
        if let named = document.entryPoint {
            if resources.contains(named), FileTree.isExecutable("\(folder)/\(named)") { return named }
            diagnostics.append(
                SkillDiagnostic(
                    .warning,
                    path,
                    "metadata.penstock.run names \(named), which is no executable file of the skill"
                )
            )
            return nil
        }
        let scripts = resources.filter {
            $0.hasPrefix("scripts/") && FileTree.isExecutable("\(folder)/\($0)")
        }
        return scripts.count == 1 ? scripts[0] : nil
    }
}

/// The format's own rules, for `skills check`; loading does not depend on them.
package enum SkillRules {
    private static let fields = [
        "name", "description", "license", "compatibility", "metadata", "allowed-tools",
    ]

    package static func check(_ document: SkillDocument, folder: String) -> [String] {
        var problems: [String] = []
        if let problem = problem(name: document.name, folder: folder) { problems.append(problem) }
        let description = document.description ?? ""
        if description.isEmpty { problems.append("description is missing") }
        if description.count > 1_024 {
            problems.append("description has \(description.count) characters, at most 1024 are allowed")
        }
        if let compatibility = document.compatibility, compatibility.count > 500 {
            problems.append("compatibility has \(compatibility.count) characters, at most 500 are allowed")
        }
        for field in document.fields where !fields.contains(field) {
            problems.append("\(field) is no field of the format: use \(fields.joined(separator: ", "))")
        }
        return problems
    }

    static func problem(name: String?, folder: String) -> String? {
        guard let name, !name.isEmpty else { return "name is missing; the folder's name is used" }
        let isFormed =
            name.count <= 64 && !name.hasPrefix("-") && !name.hasSuffix("-") && !name.contains("--")
            && name.allSatisfy { $0 == "-" || $0.isNumber || $0.isLetter && $0.lowercased() == String($0) }
        guard isFormed else { return "name must be 1…64 lower-case letters, digits and single hyphens" }
        return name == folder ? nil : "name \(name) is not the folder's name, \(folder)"
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
