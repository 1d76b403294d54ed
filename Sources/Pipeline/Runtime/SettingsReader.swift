import YAML

package struct SettingsError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// Reads one mapping of a settings file; whatever is wrong is said with file, line, key and what is allowed.
struct SettingsReader {
    let file: String
    let path: String
    private let node: YAMLNode

    init(_ node: YAMLNode, file: String, path: String, keys: [String]) throws(SettingsError) {
        self.file = file
        self.path = path
        self.node = node
        guard let entries = node.entries else {
            throw Self.error(node, file, path, "expected keys and values: \(keys.joined(separator: ", "))")
        }
        for entry in entries {
            let key = entry.key.text ?? "?"
            guard !keys.contains(key) else { continue }
            let guess = Spelling.nearest(key, in: keys).map { "; did you mean \($0)?" } ?? ""
            throw Self.error(
                entry.key,
                file,
                path.isEmpty ? key : "\(path).\(key)",
                "unknown key\(guess) Allowed here: \(keys.joined(separator: ", "))"
            )
        }
    }

    private static func error(_ node: YAMLNode, _ file: String, _ path: String, _ message: String)
        -> SettingsError
    {
        SettingsError("\(file):\(node.line): \(path.isEmpty ? "" : "\(path): ")\(message)")
    }

    func error(_ key: String, _ message: String) -> SettingsError {
        Self.error(node[key] ?? node, file, path.isEmpty ? key : "\(path).\(key)", message)
    }

    /// Nil when the key is missing or null.
    func node(_ key: String) -> YAMLNode? {
        guard let value = node[key], !value.isNull else { return nil }
        return value
    }

    func string(_ key: String) throws(SettingsError) -> String? {
        guard let value = node(key) else { return nil }
        guard let text = value.text, !text.isEmpty else { throw error(key, "expected text") }
        return text
    }

    func required(_ key: String) throws(SettingsError) -> String {
        guard let value = try string(key) else { throw error(key, "is needed here") }
        return value
    }

    func strings(_ key: String) throws(SettingsError) -> [String]? {
        guard let value = node(key) else { return nil }
        if let text = value.text { return [text] }
        guard let elements = value.elements else { throw error(key, "expected a list") }
        var strings: [String] = []
        for element in elements {
            guard let text = element.text, !text.isEmpty else { throw error(key, "expected a list of texts") }
            strings.append(text)
        }
        return strings
    }

    func bool(_ key: String) throws(SettingsError) -> Bool? {
        guard let value = node(key) else { return nil }
        guard let bool = value.bool else { throw error(key, "expected true or false") }
        return bool
    }

    func integer(_ key: String, in range: ClosedRange<Int>) throws(SettingsError) -> Int? {
        guard let value = node(key) else { return nil }
        guard let integer = value.integer, range.contains(integer) else {
            throw error(key, "expected a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return integer
    }

    /// `2`, `0.5`.
    func number(_ key: String, in range: ClosedRange<Double>) throws(SettingsError) -> Double? {
        guard let text = try string(key) else { return nil }
        guard let number = Double(text), range.contains(number) else {
            throw error(key, "expected a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func word<Word: CaseIterable & RawRepresentable>(
        _ key: String,
        _ type: Word.Type
    ) throws(SettingsError) -> Word? where Word.RawValue == String {
        guard let text = try string(key) else { return nil }
        guard let word = Word(rawValue: text) else {
            throw error(key, "expected one of \(Word.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return word
    }

    /// `30s`, `5m`, `2h`, `500ms`.
    func duration(_ key: String, in range: ClosedRange<Duration>) throws(SettingsError) -> Duration? {
        guard let text = try string(key) else { return nil }
        guard let duration = Self.duration(text), range.contains(duration) else {
            throw error(
                key,
                "expected a duration such as 500ms, 30s, 5m or 2h, from \(range.lowerBound) to "
                    + "\(range.upperBound)"
            )
        }
        return duration
    }

    /// `512`, `64KiB`, `4MiB`, `1GiB`.
    func bytes(_ key: String, in range: ClosedRange<Int>) throws(SettingsError) -> Int? {
        guard let text = try string(key) else { return nil }
        guard let bytes = Self.bytes(text), range.contains(bytes) else {
            throw error(
                key,
                "expected a size such as 64KiB or 4MiB, from \(range.lowerBound) to \(range.upperBound) bytes"
            )
        }
        return bytes
    }

    func url(_ key: String) throws(SettingsError) -> String? {
        guard let text = try string(key) else { return nil }
        guard text.hasPrefix("https://") || text.hasPrefix("http://"),
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else {
            throw error(key, "expected an address that begins with https:// or http://")
        }
        return text.hasSuffix("/") ? String(text.dropLast()) : text
    }

    func reader(_ key: String, keys: [String]) throws(SettingsError) -> SettingsReader? {
        guard let value = node(key) else { return nil }
        return try SettingsReader(value, file: file, path: path.isEmpty ? key : "\(path).\(key)", keys: keys)
    }

    private static func duration(_ text: String) -> Duration? {
        for (unit, milliseconds) in [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)] {
            guard text.hasSuffix(unit), let count = Int(text.dropLast(unit.count)), count >= 0,
                count < 1_000_000_000
            else { continue }
            return .milliseconds(count * milliseconds)
        }
        return nil
    }

    private static func bytes(_ text: String) -> Int? {
        for (unit, factor) in [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)] {
            guard text.hasSuffix(unit), let count = Int(text.dropLast(unit.count)), count >= 0,
                count < 1 << 30
            else { continue }
            return count * factor
        }
        return nil
    }
}

/// Guesses what somebody meant to type.
package enum Spelling {
    /// The word that takes the fewest changes, if they are few.
    package static func nearest(_ word: String, in words: [String]) -> String? {
        let scored = words.map { ($0, distance(Array(word.utf8), Array($0.utf8))) }
        let changesMax = max(2, word.utf8.count / 3)
        guard let best = scored.min(by: { $0.1 < $1.1 }), best.1 <= changesMax, best.1 < word.utf8.count
        else {
            return nil
        }
        return best.0
    }

    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        guard left.count < 64, right.count < 64 else { return .max }
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (a == b ? 0 : 1))
                diagonal = row[j + 1]
                row[j + 1] = next
            }
        }
        return row[right.count]
    }
}
