/// Finds the documents of skills below a folder.
///
/// A folder with a SKILL.md is a skill, and nothing below it is looked at; Markdown files with frontmatter
/// directly in the top folder are skills too. Links are followed, each folder once. Folders that begin with a
/// dot, node_modules, and what .gitignore, .ignore and .fdignore name are left out.
struct SkillSearch {
    struct Found {
        let document: String
        let folder: String
        /// The whole skill is this file.
        let isAlone: Bool
    }

    private struct Place {
        let path: String
        let depth: Int
        /// With the length of the path of the folder that each set is from.
        let rules: [(IgnoreRules, prefix: Int)]
    }

    static let depthMax = 6
    static let foldersMax = 20_000

    private(set) var found: [Found] = []
    private(set) var diagnostics: [SkillDiagnostic] = []
    private var seen: Set<String> = []
    /// Said once.
    private var isTooDeep = false

    init(below root: String) {
        var queue = [Place(path: root, depth: 0, rules: [])]
        var next = 0
        while next < queue.count {
            queue += visit(queue[next], root)
            next += 1
            if queue.count > Self.foldersMax {
                diagnostics.append(
                    SkillDiagnostic(
                        .error,
                        root,
                        "more than \(Self.foldersMax) folders: the rest is not seen; name its folders instead"
                    )
                )
                queue.removeLast(queue.count - Self.foldersMax)
                for place in queue[next...] { _ = visit(place, root) }
                break
            }
        }
        found.sort { $0.document < $1.document }
    }

    /// Returns the folders to look at next.
    private mutating func visit(_ place: Place, _ root: String) -> [Place] {
        guard let real = FileTree.realPath(place.path), seen.insert(real).inserted else { return [] }
        let names = FileTree.names(in: place.path)
        if let document = Self.document(in: place.path, names, isRoot: place.depth == 0) {
            found.append(Found(document: document, folder: place.path, isAlone: false))
            return []
        }
        if place.depth == 0 { findFiles(in: place.path, names) }
        var rules = place.rules
        for name in IgnoreRules.fileNames where names.contains(name) {
            // An ignore file that cannot be read ignores nothing.
            if let text = FileTree.read("\(place.path)/\(name)", bytesMax: IgnoreRules.bytesMax) {
                rules.append((IgnoreRules(text), prefix: place.path.utf8.count + 1))
            }
        }
        let folders = names.filter { name in
            !name.hasPrefix(".") && name != "node_modules" && FileTree.isFolder("\(place.path)/\(name)")
        }.map { "\(place.path)/\($0)" }.filter { !Self.isIgnored($0, isFolder: true, rules) }
        guard place.depth < Self.depthMax else {
            if !folders.isEmpty, !isTooDeep {
                isTooDeep = true
                diagnostics.append(
                    SkillDiagnostic(
                        .warning,
                        place.path,
                        "more than \(Self.depthMax) folders deep: what is below is not looked at"
                    )
                )
            }
            return []
        }
        return folders.map { Place(path: $0, depth: place.depth + 1, rules: rules) }
    }

    private mutating func findFiles(in root: String, _ names: [String]) {
        for name in names where name.hasSuffix(".md") && !name.hasPrefix(".") {
            let path = "\(root)/\(name)"
            guard let start = FileTree.read(path, bytesMax: SkillLoader.documentBytesMax)?.prefix(6),
                start.starts(with: "---".utf8) || start.dropFirst(3).starts(with: "---".utf8)
            else { continue }
            found.append(Found(document: path, folder: root, isAlone: true))
        }
    }

    /// `SKILL.md`, or as some write it.
    static func document(in folder: String, _ names: [String], isRoot: Bool) -> String? {
        let written = ["SKILL.md", "skill.md", "Skill.md", "SKILL.MD"] + (isRoot ? [] : ["skills.md"])
        let name = written.first { names.contains($0) && FileTree.isFile("\(folder)/\($0)") }
        return name.map { "\(folder)/\($0)" }
    }

    private static func isIgnored(
        _ path: String,
        isFolder: Bool,
        _ rules: [(IgnoreRules, prefix: Int)]
    ) -> Bool {
        for (rules, prefix) in rules.reversed() {
            let relative = String(decoding: path.utf8.dropFirst(prefix), as: UTF8.self)
            if let verdict = rules.ignores(relative, isFolder: isFolder) { return verdict }
        }
        return false
    }
}
