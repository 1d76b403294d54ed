import Crypto
import Glibc

/// Loads skills from folders. A skill that cannot be loaded is a diagnostic and hides no other.
package enum SkillLoader {
    package static let documentBytesMax = 1 << 20
    /// Of larger files only the size enters the digest.
    private static let digestedBytesMax = 1 << 20

    /// Later roots win where two skills have one name; within one root the first does. A root that is itself
    /// a skill counts as one.
    package static func load(_ roots: [String], host: SkillHost = SkillHost()) -> SkillCatalog {
        var skills: [String: Skill] = [:]
        var diagnostics: [SkillDiagnostic] = []
        var documents: Set<String> = []
        for root in roots {
            guard let real = FileTree.realPath(root) else {
                let reason = String(cString: strerror(errno))
                diagnostics.append(
                    SkillDiagnostic(.error, root, "the folder of skills can not be read: \(reason)")
                )
                continue
            }
            let search = SkillSearch(below: real)
            diagnostics += search.diagnostics
            var here: Set<String> = []
            for found in search.found
            where documents.insert(FileTree.realPath(found.document) ?? found.document).inserted {
                let (loaded, problems) = load(found, host: host)
                diagnostics += problems
                guard let skill = loaded else { continue }
                if let other = skills[skill.name] {
                    let isSecond = here.contains(skill.name)
                    diagnostics.append(hidden(isSecond ? skill : other, by: isSecond ? other : skill))
                    if isSecond { continue }
                }
                here.insert(skill.name)
                skills[skill.name] = skill
            }
        }
        return SkillCatalog(skills: Array(skills.values), diagnostics: diagnostics)
    }

    private static func hidden(_ loser: Skill, by winner: Skill) -> SkillDiagnostic {
        SkillDiagnostic(
            .warning,
            loser.document,
            "not used: \(winner.document) is called \(winner.name) too, and comes before it"
        )
    }

    /// One folder that is a skill.
    package static func load(folder: String) -> (Skill?, [SkillDiagnostic]) {
        let names = FileTree.names(in: folder)
        let document = SkillSearch.document(in: folder, names, isRoot: false) ?? "\(folder)/SKILL.md"
        return load(
            SkillSearch.Found(document: document, folder: folder, isAlone: false),
            host: SkillHost()
        )
    }

    static func load(_ found: SkillSearch.Found, host: SkillHost) -> (Skill?, [SkillDiagnostic]) {
        let path = found.document
        guard let bytes = FileTree.read(path, bytesMax: documentBytesMax) else {
            return (
                nil,
                [SkillDiagnostic(.error, path, "can not be read, or has more than \(documentBytesMax) bytes")]
            )
        }
        let (parsed, problems) = SkillDocument.parse(bytes, path: path)
        var diagnostics = problems
        guard let document = parsed else { return (nil, diagnostics) }
        let description = (document.description ?? "").onOneLine
        guard !description.isEmpty else {
            diagnostics.append(
                SkillDiagnostic(.error, path, "no description: a model could never tell when to use it")
            )
            return (nil, diagnostics)
        }
        let name = name(of: document, found)
        let host = host.granting(name)
        diagnostics += remarks(on: document, found, host)
        let resources =
            found.isAlone ? [] : FileTree.files(below: found.folder, most: Skill.resourcesMax, depthMax: 6)
        let entryPoint: String?
        switch self.entryPoint(document, found, resources) {
        case .success(let script): entryPoint = script
        case .failure(let problem):
            entryPoint = nil
            diagnostics.append(SkillDiagnostic(.warning, path, problem.text))
        }
        let skill = Skill(
            name: name,
            description: String(String.UnicodeScalarView(description.unicodeScalars.prefix(1_024))),
            body: document.body.replacing("{baseDir}", with: "/skills/\(name)"),
            directory: FileTree.realPath(found.folder) ?? found.folder,
            document: path,
            entryPoint: entryPoint,
            isHiddenFromModels: document.isHiddenFromModels,
            isInvocable: document.isInvocable,
            license: document.license,
            compatibility: document.compatibility,
            allowedTools: document.allowedTools,
            metadata: document.metadata,
            requirements: document.requirements,
            missing: document.requirements.missing(on: host),
            resources: resources,
            digest: digest(bytes, found.folder, resources)
        )
        return (skill, diagnostics)
    }

    private static func remarks(
        on document: SkillDocument,
        _ found: SkillSearch.Found,
        _ host: SkillHost
    ) -> [SkillDiagnostic] {
        let folderName = found.isAlone ? stem(found.document) : lastPart(found.folder)
        var remarks: [String] = []
        if let problem = SkillRules.problem(name: document.name, folder: folderName) {
            remarks.append(problem)
        }
        if document.description?.isDeceptive == true {
            remarks.append("description has control or direction characters, which were dropped")
        }
        if let length = document.description?.unicodeScalars.count, length > 1_024 {
            remarks.append("description has \(length) characters; the first 1024 are used")
        }
        remarks += document.requirements.missing(on: host).map { "not for models here: \($0)" }
        return remarks.map { SkillDiagnostic(.warning, found.document, $0) }
    }

    private static func name(of document: SkillDocument, _ found: SkillSearch.Found) -> String {
        let fallback = found.isAlone ? stem(found.document) : lastPart(found.folder)
        for candidate in [document.name ?? "", fallback] {
            let name = clean(candidate)
            if !name.isEmpty { return name }
        }
        // Letters that are none of ours only; the name still has to be the same on every load.
        return "skill-\(SHA256.hex(Array((document.name ?? fallback).utf8)).prefix(8))"
    }

    /// As a path segment and a command's word: what does not fit becomes a hyphen.
    private static func clean(_ name: String) -> String {
        let mapped = name.lowercased().map { character -> Character in
            character.isASCII && (character.isLetter || character.isNumber) ? character : "-"
        }
        let words = String(mapped).split(separator: "-").joined(separator: "-").prefix(64)
        return String(words.hasSuffix("-") ? words.dropLast() : words)
    }

    private static func lastPart(_ path: String) -> String {
        String(path.split(separator: "/").last ?? "")
    }

    private static func stem(_ path: String) -> String {
        String(lastPart(path).dropLast(3))
    }

    private struct Problem: Error {
        let text: String
    }

    private static func entryPoint(
        _ document: SkillDocument,
        _ found: SkillSearch.Found,
        _ resources: [String]
    ) -> Result<String?, Problem> {
        if let named = document.entryPoint {
            let isInside = FileTree.isInside(found.folder, named)
            if !found.isAlone, isInside, FileTree.isExecutable("\(found.folder)/\(named)") {
                return .success(named)
            }
            return .failure(
                Problem(
                    text: "metadata.penstock.run names \(named), which is no executable file of the skill"
                )
            )
        }
        let scripts = resources.filter {
            $0.hasPrefix("scripts/") && FileTree.isExecutable("\(found.folder)/\($0)")
        }
        return .success(scripts.count == 1 ? scripts[0] : nil)
    }

    private static func digest(_ document: [UInt8], _ folder: String, _ resources: [String]) -> String {
        var lines = [SHA256.hex(document)]
        for resource in resources {
            let path = "\(folder)/\(resource)"
            let content = FileTree.read(path, bytesMax: digestedBytesMax).map { SHA256.hex($0) }
            let kind = FileTree.isExecutable(path) ? "x" : "-"
            lines.append("\(resource) \(kind) \(content ?? "\(FileTree.byteCount(path))")")
        }
        return SHA256.hex(Array(lines.joined(separator: "\n").utf8))
    }
}
