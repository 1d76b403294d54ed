/// The rules of one .gitignore, .ignore or .fdignore; character classes are taken literally.
struct IgnoreRules {
    static let fileNames = [".gitignore", ".ignore", ".fdignore"]
    static let bytesMax = 64 * 1_024
    static let rulesMax = 1_000

    private struct Rule {
        /// Empty stands for `**`.
        let segments: [[UInt8]]
        let isNegated: Bool
        let isFolderOnly: Bool
        /// Matches a name at any depth.
        let isName: Bool
    }

    private let rules: [Rule]

    init(_ text: [UInt8]) {
        rules = text.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }).prefix(Self.rulesMax).compactMap(
            Self.rule
        )
    }

    private static func rule(_ line: ArraySlice<UInt8>) -> Rule? {
        var line = line
        while line.last == 0x20 || line.last == 0x09 { line.removeLast() }
        guard let first = line.first, first != UInt8(ascii: "#") else { return nil }
        let isNegated = first == UInt8(ascii: "!")
        if isNegated || first == UInt8(ascii: "\\") { line.removeFirst() }
        let isFolderOnly = line.last == UInt8(ascii: "/")
        if isFolderOnly { line.removeLast() }
        let isName = !line.contains(UInt8(ascii: "/"))
        let segments = line.split(separator: UInt8(ascii: "/")).map { $0 == [0x2A, 0x2A] ? [] : Array($0) }
        guard !segments.isEmpty else { return nil }
        return Rule(segments: segments, isNegated: isNegated, isFolderOnly: isFolderOnly, isName: isName)
    }

    /// The last rule that matches counts; nil when none does. The path is relative to the rules' folder.
    func ignores(_ path: String, isFolder: Bool) -> Bool? {
        let parts = path.utf8.split(separator: UInt8(ascii: "/")).map { Array($0) }
        guard let name = parts.last else { return nil }
        let rule = rules.last { rule in
            guard isFolder || !rule.isFolderOnly else { return false }
            let subject = rule.isName ? [name] : parts
            return Self.matches(rule.segments, subject, isMany: { $0.isEmpty }) { segment, part in
                Self.matches(segment, part, isMany: { $0 == UInt8(ascii: "*") }) {
                    $0 == $1 || $0 == UInt8(ascii: "?")
                }
            }
        }
        return rule.map { !$0.isNegated }
    }

    /// Wildcards by going back to the last one only, so that no pattern takes long.
    private static func matches<Pattern, Item>(
        _ pattern: [Pattern],
        _ items: [Item],
        isMany: (Pattern) -> Bool,
        one: (Pattern, Item) -> Bool
    ) -> Bool {
        var (at, item) = (0, 0)
        var retry: (pattern: Int, item: Int)?
        while item < items.count {
            if at < pattern.count, isMany(pattern[at]) {
                at += 1
                retry = (at, item)
            } else if at < pattern.count, one(pattern[at], items[item]) {
                at += 1
                item += 1
            } else if let last = retry {
                retry = (last.pattern, last.item + 1)
                (at, item) = (last.pattern, last.item + 1)
            } else {
                return false
            }
        }
        return pattern[at...].allSatisfy(isMany)
    }
}
