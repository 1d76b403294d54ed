import Glibc
import Synchronization

package enum LogLevel: Int, Sendable, Comparable, CaseIterable {
    case trace, debug, info, warning, error

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    package init?(name: String) {
        guard let level = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = level
    }

    package var name: String {
        switch self {
        case .trace: "trace"
        case .debug: "debug"
        case .info: "info"
        case .warning: "warning"
        case .error: "error"
        }
    }
}

package enum LogFormat: String, Sendable, CaseIterable {
    case text
    case json
}

/// Where the process's log lines go: to standard error, one `write` a line.
package enum LogSystem {
    private static let level = Atomic<Int>(LogLevel.info.rawValue)
    private static let isJSON = Atomic<Bool>(false)
    private static let droppedLines = Atomic<Int>(0)
    private static let sink = Mutex<(@Sendable (LogLevel, String) -> Void)?>(nil)

    /// Lines that a full standard error did not take.
    package static var dropped: Int { droppedLines.load(ordering: .relaxed) }

    package static func bootstrap(level: LogLevel, format: LogFormat) {
        self.level.store(level.rawValue, ordering: .relaxed)
        isJSON.store(format == .json, ordering: .relaxed)
    }

    /// Sends lines to a test instead; nil gives them back to standard error.
    package static func redirect(to sink: (@Sendable (LogLevel, String) -> Void)?) {
        self.sink.withLock { $0 = sink }
    }

    static func write(
        _ level: LogLevel,
        _ label: String,
        _ message: StaticString,
        _ metadata: () -> [String: String]
    ) {
        guard level.rawValue >= self.level.load(ordering: .relaxed) else { return }
        let line = LogLine.text(
            level,
            label,
            "\(message)",
            metadata(),
            isJSON: isJSON.load(ordering: .relaxed),
            secondsSince1970: LogLine.wallClock()
        )
        if let sink = sink.withLock({ $0 }) { return sink(level, line) }
        emit(line)
    }

    /// A standard error that takes nothing now (a full pipe, non-blocking) loses the line and counts it.
    private static func emit(_ line: String) {
        var line = line + "\n"
        let written = line.withUTF8 { Glibc.write(2, $0.baseAddress, $0.count) }
        if written < 0 { droppedLines.add(1, ordering: .relaxed) }
    }
}

/// One log line, text or JSON. Values come from anywhere: nothing in them can end the line or forge another.
enum LogLine {
    static func text(
        _ level: LogLevel,
        _ label: String,
        _ message: String,
        _ metadata: [String: String],
        isJSON: Bool,
        secondsSince1970: (Int, Int)
    ) -> String {
        let time = timestamp(secondsSince1970)
        let fields = metadata.sorted { $0.key < $1.key }
        guard isJSON else {
            let data = fields.map { " \($0.key)=\(quoted($0.value, always: false))" }.joined()
            return "\(time) \(level.name) \(label): \(message)\(data)"
        }
        let data = fields.map { ",\(quoted($0.key, always: true)):\(quoted($0.value, always: true))" }
            .joined()
        return "{\"time\":\"\(time)\",\"level\":\"\(level.name)\",\"label\":\(quoted(label, always: true)),"
            + "\"message\":\(quoted(message, always: true))\(data)}"
    }

    static func wallClock() -> (Int, Int) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return (now.tv_sec, now.tv_nsec)
    }

    private static func timestamp(_ time: (Int, Int)) -> String {
        var seconds = time.0
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func pad(_ value: Int, _ count: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, count - digits.count)) + digits
        }
        return
            "\(pad(Int(parts.tm_year) + 1900, 4))-\(pad(Int(parts.tm_mon) + 1, 2))-"
            + "\(pad(Int(parts.tm_mday), 2))T"
            + "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2))."
            + "\(pad(time.1 / 1_000_000, 3))Z"
    }

    /// As a JSON string; in text lines only where the value would not stand as one word.
    private static func quoted(_ text: String, always: Bool) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C && $0 != 0x3D }
        if isPlain, !always { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            // Control characters, and those that reorder or hide what is on a terminal.
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{200B}"..."\u{200F}", "\u{2028}"..."\u{202E}",
                "\u{2066}"..."\u{2069}", "\u{FEFF}":
                let hex = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
