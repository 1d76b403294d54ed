/// Something about a skill that its author or the operator should know.
package struct SkillDiagnostic: Sendable, Hashable, CustomStringConvertible {
    package enum Severity: String, Sendable {
        case warning
        /// The skill was not loaded.
        case error
    }

    package let severity: Severity
    package let path: String
    package let line: Int?
    package let message: String

    /// Characters that would play tricks on a terminal are shown as codes: strangers name folders and fields.
    package init(_ severity: Severity, _ path: String, line: Int? = nil, _ message: String) {
        self.severity = severity
        self.path = path.harmless
        self.line = line
        self.message = message.harmless
    }

    package var description: String {
        "\(path):\(line.map { "\($0):" } ?? "") \(severity.rawValue): \(message)"
    }
}

extension Unicode.Scalar {
    /// Control characters, and those that reorder or hide text around them.
    var isDeceptive: Bool {
        switch value {
        case 0x00...0x1F, 0x7F...0x9F, 0x061C, 0x180E, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x206F,
            0xFEFF, 0xFFF9...0xFFFB, 0xE0000...0xE007F:
            true
        default: false
        }
    }
}

extension String {
    var isDeceptive: Bool { unicodeScalars.contains { $0.isDeceptive } }

    /// Deceptive characters as `\u{…}`.
    var harmless: String {
        guard isDeceptive else { return self }
        var text = ""
        for scalar in unicodeScalars {
            if scalar.isDeceptive {
                text += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    /// Deceptive characters and line breaks as single spaces; for text that belongs on one line.
    var onOneLine: String {
        var words = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            let isSpace = scalar.isDeceptive || scalar.properties.isWhitespace
            if !isSpace {
                words.append(scalar)
            } else if let last = words.last, last != " " {
                words.append(" ")
            }
        }
        return String(words).trimmingBlank
    }
}
