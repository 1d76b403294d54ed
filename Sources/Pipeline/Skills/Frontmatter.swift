import YAML

/// The block of YAML that a SKILL.md starts with, in the shapes that it has in the wild.
struct Frontmatter {
    enum Problem: Error {
        case missing
        case unterminated
        case tooLarge
    }

    static let bytesMax = 64 * 1_024

    /// With plain line feeds. Its line numbers are the file's: what follows the first `---` is line 1.
    let block: String
    let body: String

    /// Starts at the file's first three bytes and ends at the first line that begins with `---`.
    init(_ file: [UInt8]) throws(Problem) {
        let lines = Self.lines(file)
        guard let first = lines.first, first.starts(with: [0x2D, 0x2D, 0x2D]) else { throw .missing }
        let end = lines.dropFirst().firstIndex { $0.starts(with: [0x2D, 0x2D, 0x2D]) }
        guard let end else { throw .unterminated }
        let front = [first.dropFirst(3)] + lines[1..<end]
        guard front.reduce(0, { $0 + $1.count + 1 }) <= Self.bytesMax else { throw .tooLarge }
        block = Self.text(front[...])
        body = Self.text(lines[(end + 1)...]).trimmingBlank
    }

    /// Lines may end in LF, CRLF or CR; a byte order mark is dropped.
    private static func lines(_ file: [UInt8]) -> [ArraySlice<UInt8>] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(file.count)
        var previous: UInt8 = 0
        for byte in file.starts(with: [0xEF, 0xBB, 0xBF]) ? file.dropFirst(3) : file[...] {
            if byte != 0x0A || previous != 0x0D { bytes.append(byte == 0x0D ? 0x0A : byte) }
            previous = byte
        }
        return bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
    }

    private static func text(_ lines: ArraySlice<ArraySlice<UInt8>>) -> String {
        String(decoding: Array(lines.joined(separator: [0x0A])), as: UTF8.self)
    }

    /// The block with quotes around values that YAML trips over, such as `description: Use when: always`.
    var quoted: String {
        block.split(separator: "\n", omittingEmptySubsequences: false).map(Self.quoting).joined(
            separator: "\n"
        )
    }

    private static func quoting(_ line: Substring) -> String {
        let indent = line.prefix { $0 == " " }
        guard let (key, rest) = keyed(line.dropFirst(indent.count)) else { return String(line) }
        let value = rest.trimmingBlank
        guard let first = value.first, let last = value.last else { return String(line) }
        let isSound: Bool
        switch first {
        case "\"", "'":
            let inner = value.dropFirst().dropLast()
            isSound = value.count > 1 && last == first && !inner.contains(first)
        case "[": isSound = last == "]"
        case "{": isSound = last == "}" || last == "{"
        case "|", ">": isSound = value.count <= 3
        case "&", "*", "!", "@", "`", "%": isSound = false
        default: isSound = !value.contains(": ") && last != ":" && !value.contains(" #")
        }
        guard !isSound else { return String(line) }
        var text = value
        if first == last, first == "\"" || first == "'", value.count > 1 {
            text = String(text.dropFirst().dropLast())
        }
        let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\(indent)\(key): \"\(escaped)\""
    }

    struct Field {
        let key: String
        let text: String
        let line: Int
    }

    /// For a block that is no YAML at all: `name: value` at the start of a line; where nothing follows the
    /// name, the indented lines after it.
    var fields: [Field] {
        let lines = block.split(separator: "\n", omittingEmptySubsequences: false)
        var fields: [Field] = []
        var index = 0
        while index < lines.count {
            let line = index
            index += 1
            guard let (key, rest) = Self.keyed(lines[line]) else { continue }
            var text = rest.trimmingBlank
            if text.isEmpty || text.allSatisfy({ "|>-+".contains($0) }) {
                let first = index
                while index < lines.count, lines[index].isEmpty || lines[index].first?.isWhitespace == true {
                    index += 1
                }
                // Indented as it stands, since it may be a mapping.
                text = lines[first..<index].joined(separator: "\n")
            } else if text.count >= 2, let quote = text.first, quote == "\"" || quote == "'",
                text.last == quote
            {
                text = String(text.dropFirst().dropLast())
            }
            if !text.trimmingBlank.isEmpty { fields.append(Field(key: key, text: text, line: line + 1)) }
        }
        return fields
    }

    /// `key: rest`, at the start of the line.
    private static func keyed(_ line: Substring) -> (key: String, rest: Substring)? {
        let key = line.prefix { $0.isASCII && ($0.isLetter || $0.isNumber) || $0 == "_" || $0 == "-" }
        let rest = line.dropFirst(key.count)
        guard !key.isEmpty, rest.first == ":" else { return nil }
        return (String(key), rest.dropFirst())
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
