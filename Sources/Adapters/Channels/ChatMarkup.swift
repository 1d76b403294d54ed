/// Writes Markdown in the markup of a chat platform.
///
/// Line by line and by hand: models write a small part of Markdown, and what is not understood stays as it
/// was written. Code is never changed but for the platform's escapes.
struct ChatMarkup {
    enum Dialect {
        /// mrkdwn, where `& < >` are escaped, and so nothing that a model writes can notify a channel.
        case slack
        case whatsApp
    }

    let dialect: Dialect

    /// How far a closing delimiter is looked for, bytes: keeps hostile text linear.
    private static let reach = 400
    private static let addressReach = 2_000
    private static let depthMax = 6

    func write(_ markdown: String) -> String {
        var isInFence = false
        var lines: [String] = []
        for line in markdown.split(separator: "\n", omittingEmptySubsequences: false) {
            let bare = line.drop { $0 == " " }
            if bare.hasPrefix("```") {
                // An opening fence's language would be shown as the first line of the code.
                let isOneLine = !isInFence && bare.dropFirst(3).contains("```")
                lines.append(isOneLine ? escaped(Array(line.utf8)) : "```")
                if !isOneLine { isInFence.toggle() }
            } else {
                lines.append(isInFence ? escaped(Array(line.utf8)) : writeLine(line))
            }
        }
        if isInFence { lines.append("```") }
        return lines.joined(separator: "\n")
    }

    private func writeLine(_ line: Substring) -> String {
        let indent = line.prefix { $0 == " " || $0 == "\t" }
        let bare = line.dropFirst(indent.count)
        let hashes = bare.prefix { $0 == "#" }
        if (1...6).contains(hashes.count), bare.dropFirst(hashes.count).first == " " {
            let title = bare.dropFirst(hashes.count).drop { $0 == " " }
            return title.isEmpty ? "" : "*" + inline(Self.withoutBold(title), depth: 0) + "*"
        }
        if bare.hasPrefix("- ") || bare.hasPrefix("* ") || bare.hasPrefix("+ ") {
            return indent + "• " + inline(Array(bare.dropFirst(2).utf8), depth: 0)
        }
        if bare.hasPrefix("> ") || bare == ">" {
            return escaped(Array(">".utf8)) + " " + inline(Array(bare.dropFirst(2).utf8), depth: 0)
        }
        return indent + inline(Array(bare.utf8), depth: 0)
    }

    /// A heading is bold as a whole.
    private static func withoutBold(_ title: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        let source = Array(title.utf8)
        var index = 0
        while index < source.count {
            if source[index] == UInt8(ascii: "*"), index + 1 < source.count,
                source[index + 1] == source[index]
            {
                index += 2
            } else {
                bytes.append(source[index])
                index += 1
            }
        }
        return bytes
    }

    private func inline(_ bytes: [UInt8], depth: Int) -> String {
        var output: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if let (written, end) = construct(bytes, at: index, depth: depth) {
                output += written
                index = end
            } else {
                append(bytes[index], to: &output)
                index += 1
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// What begins at the index, written, and where it ends; nil for a plain byte.
    private func construct(_ bytes: [UInt8], at index: Int, depth: Int) -> ([UInt8], Int)? {
        switch bytes[index] {
        case UInt8(ascii: "\\"): escape(bytes, at: index)
        case UInt8(ascii: "`"): code(bytes, at: index)
        case UInt8(ascii: "*"), UInt8(ascii: "_"): emphasis(bytes, at: index, depth: depth)
        case UInt8(ascii: "~"): strike(bytes, at: index, depth: depth)
        case UInt8(ascii: "!"), UInt8(ascii: "["): link(bytes, at: index, depth: depth)
        case UInt8(ascii: "<"): angle(bytes, at: index)
        case UInt8(ascii: "h"): bareURL(bytes, at: index)
        default: nil
        }
    }

    private func escape(_ bytes: [UInt8], at index: Int) -> ([UInt8], Int)? {
        guard index + 1 < bytes.count, "\\`*_{}[]()#+-.!~>|<".utf8.contains(bytes[index + 1]) else {
            return nil
        }
        var output: [UInt8] = []
        append(bytes[index + 1], to: &output)
        return (output, index + 2)
    }

    private func code(_ bytes: [UInt8], at index: Int) -> ([UInt8], Int)? {
        let run = bytes[index...].prefix { $0 == UInt8(ascii: "`") }.count
        let delimiter = [UInt8](repeating: UInt8(ascii: "`"), count: run)
        var start = index + run
        while let end = Self.find(delimiter, in: bytes, from: start, reach: Self.addressReach) {
            let length = bytes[end...].prefix { $0 == UInt8(ascii: "`") }.count
            if length == run {
                return (Array(escaped(Array(bytes[index..<end + run])).utf8), end + run)
            }
            start = end + length
        }
        return (delimiter, index + run)
    }

    private func emphasis(_ bytes: [UInt8], at index: Int, depth: Int) -> ([UInt8], Int)? {
        let mark = bytes[index]
        let run = bytes[index...].prefix { $0 == mark }.count
        // A longer row of them is a line, not emphasis.
        guard run <= 3 else { return (Array(bytes[index..<index + run]), index + run) }
        guard depth < Self.depthMax, mark == UInt8(ascii: "*") || !Self.isWord(bytes, index - 1) else {
            return nil
        }
        let delimiter = [UInt8](repeating: mark, count: run)
        guard let end = closing(delimiter, in: bytes, from: index + run) else { return nil }
        let inner = inline(Array(bytes[index + run..<end]), depth: depth + 1)
        let written =
            switch run {
            case 1: "_\(inner)_"
            case 2: "*\(inner)*"
            default: "*_\(inner)_*"
            }
        return (Array(written.utf8), end + run)
    }

    private func strike(_ bytes: [UInt8], at index: Int, depth: Int) -> ([UInt8], Int)? {
        let delimiter = Array("~~".utf8)
        let run = bytes[index...].prefix { $0 == delimiter[0] }.count
        guard run <= 2 else { return (Array(bytes[index..<index + run]), index + run) }
        guard depth < Self.depthMax, bytes[index...].starts(with: delimiter),
            let end = closing(delimiter, in: bytes, from: index + 2)
        else { return nil }
        return (Array("~\(inline(Array(bytes[index + 2..<end]), depth: depth + 1))~".utf8), end + 2)
    }

    /// A delimiter that closes: text before it, and no word after an underscore.
    private func closing(_ delimiter: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard start < bytes.count, !Self.isSpace(bytes[start]) else { return nil }
        var from = start + 1
        while let end = Self.find(delimiter, in: bytes, from: from, reach: Self.reach) {
            let after = end + delimiter.count
            let isRunEnd = after >= bytes.count || bytes[after] != delimiter[0]
            let isWordSafe = delimiter[0] != UInt8(ascii: "_") || !Self.isWord(bytes, after)
            if !Self.isSpace(bytes[end - 1]), isRunEnd, isWordSafe, bytes[end - 1] != UInt8(ascii: "\\") {
                return end
            }
            from = isRunEnd ? after : after + 1
            guard from - start < Self.reach else { return nil }
        }
        return nil
    }

    private func link(_ bytes: [UInt8], at index: Int, depth: Int) -> ([UInt8], Int)? {
        let isImage = bytes[index] == UInt8(ascii: "!")
        let open = isImage ? index + 1 : index
        guard open < bytes.count, bytes[open] == UInt8(ascii: "["),
            let middle = Self.find(Array("](".utf8), in: bytes, from: open + 1, reach: Self.reach),
            let end = Self.find([UInt8(ascii: ")")], in: bytes, from: middle + 2, reach: Self.addressReach),
            let url = Self.url(bytes[middle + 2..<end])
        else { return nil }
        let label = Array(bytes[open + 1..<middle])
        return (Array(writeLink(url, label: label, depth: depth).utf8), end + 1)
    }

    private func writeLink(_ url: String, label: [UInt8], depth: Int) -> String {
        let text = String(decoding: label, as: UTF8.self)
        switch dialect {
        case .slack:
            let target = escaped(Array(url.utf8)).replacing("|", with: "%7C")
            let shown = escaped(label).replacing("|", with: "/")
            return shown.isEmpty || text == url ? "<\(target)>" : "<\(target)|\(shown)>"
        case .whatsApp:
            return text.isEmpty || text == url ? url : "\(text) (\(url))"
        }
    }

    /// `<https://…>`, and on Slack the mention of a user or a channel: never `<!channel>` and its like.
    private func angle(_ bytes: [UInt8], at index: Int) -> ([UInt8], Int)? {
        guard let end = Self.find([UInt8(ascii: ">")], in: bytes, from: index + 1, reach: Self.reach) else {
            return nil
        }
        let inner = bytes[index + 1..<end]
        if let url = Self.url(inner) {
            return (Array(writeLink(url, label: [], depth: 0).utf8), end + 1)
        }
        guard dialect == .slack, inner.count <= 32,
            inner.starts(with: "@".utf8) || inner.starts(with: "#".utf8),
            inner.count > 2, "UWC".utf8.contains(inner[inner.startIndex + 1]),
            inner.dropFirst().allSatisfy({ Self.isUpperOrDigit($0) })
        else { return nil }
        return (Array(bytes[index...end]), end + 1)
    }

    /// Copied whole, so that underscores in it stay.
    private func bareURL(_ bytes: [UInt8], at index: Int) -> ([UInt8], Int)? {
        guard !Self.isWord(bytes, index - 1),
            bytes[index...].starts(with: "https://".utf8) || bytes[index...].starts(with: "http://".utf8)
        else { return nil }
        let length = bytes[index...].prefix { !Self.isSpace($0) && !"<>\"`*)]".utf8.contains($0) }.count
        return (Array(escaped(Array(bytes[index..<index + length])).utf8), index + length)
    }

    private static func url(_ bytes: ArraySlice<UInt8>) -> String? {
        guard ["https://", "http://", "mailto:"].contains(where: { bytes.starts(with: $0.utf8) }),
            bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7F && !"<>".utf8.contains($0) })
        else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func escaped(_ bytes: [UInt8]) -> String {
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count)
        for byte in bytes { append(byte, to: &output) }
        return String(decoding: output, as: UTF8.self)
    }

    private func append(_ byte: UInt8, to output: inout [UInt8]) {
        switch (dialect, byte) {
        case (.slack, UInt8(ascii: "&")): output += Array("&amp;".utf8)
        case (.slack, UInt8(ascii: "<")): output += Array("&lt;".utf8)
        case (.slack, UInt8(ascii: ">")): output += Array("&gt;".utf8)
        default: output.append(byte)
        }
    }

    private static func find(
        _ pattern: [UInt8],
        in bytes: [UInt8],
        from start: Int,
        reach: Int
    ) -> Int? {
        guard start >= 0, start + pattern.count <= bytes.count else { return nil }
        let last = min(bytes.count - pattern.count, start + reach)
        var place = start
        while place <= last {
            if bytes[place] == pattern[0], bytes[place...].starts(with: pattern) { return place }
            place += 1
        }
        return nil
    }

    private static func isWord(_ bytes: [UInt8], _ index: Int) -> Bool {
        guard bytes.indices.contains(index) else { return false }
        let byte = bytes[index]
        return byte >= 0x80 || isUpperOrDigit(byte) || (0x61...0x7A).contains(byte)
    }

    private static func isUpperOrDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
