/// Everything there is to say about skills: by the strict rules, and from loading them.
package enum SkillCheck {
    package static func findings(below roots: [String]) -> [SkillDiagnostic] {
        var findings = SkillLoader.load(roots).diagnostics
        for root in roots {
            guard let real = FileTree.realPath(root) else { continue }
            for found in SkillSearch(below: real).found {
                findings += problems(found).map { SkillDiagnostic(.warning, found.document, $0) }
            }
        }
        var seen: Set<SkillDiagnostic> = []
        return findings.filter { seen.insert($0).inserted }.sorted {
            ($0.path, $0.line ?? 0) < ($1.path, $1.line ?? 0)
        }
    }

    private static func problems(_ found: SkillSearch.Found) -> [String] {
        // What cannot be read or parsed is said by loading it.
        guard let bytes = FileTree.read(found.document, bytesMax: SkillLoader.documentBytesMax),
            let document = SkillDocument.parse(bytes, path: found.document).0
        else { return [] }
        let folder = found.folder.split(separator: "/").last.map(String.init) ?? ""
        return SkillRules.check(document, folder: folder)
    }
}
