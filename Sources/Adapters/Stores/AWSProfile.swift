/// One profile of AWS's shared files: `~/.aws/credentials` has `[name]`, `~/.aws/config` has
/// `[profile name]` and `[default]`.
struct AWSProfile: Sendable, Hashable {
    private(set) var values: [String: String] = [:]

    subscript(key: String) -> String? { values[key] }

    /// Nil when the file has no such section. Lines that begin with `#` or `;`, and the indented ones of
    /// nested settings, say nothing here.
    init?(named name: String, in text: String) {
        var isFound = false
        var isInside = false
        for line in text.split(whereSeparator: \.isNewline) {
            guard let first = line.first, first != "#", first != ";", !first.isWhitespace else { continue }
            if first == "[" {
                isInside = Self.section(line) == name
                isFound = isFound || isInside
                continue
            }
            let halves = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard isInside, halves.count == 2 else { continue }
            values[Self.trimmed(halves[0]).lowercased()] = Self.trimmed(halves[1])
        }
        guard isFound else { return nil }
    }

    private static func section(_ line: Substring) -> String {
        let name = trimmed(line.dropFirst().prefix { $0 != "]" })
        return name.hasPrefix("profile ") ? trimmed(name.dropFirst("profile ".count)) : name
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
