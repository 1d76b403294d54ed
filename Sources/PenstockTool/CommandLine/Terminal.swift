import Glibc
import JSON

/// Standard output, for what a person or a program asked for; logs go to standard error.
enum Terminal {
    static func line(_ text: String) {
        write(1, text + "\n")
    }

    static func json(_ value: JSONValue) {
        line(String(decoding: value.json, as: UTF8.self))
    }

    static func complain(_ text: String) {
        write(2, "penstock: \(text)\n")
    }

    /// To standard error, as it is: for what is written over again.
    static func status(_ text: String) { write(2, text) }

    /// A file's bytes, whatever they are.
    static func bytes(_ bytes: [UInt8]) { write(1, bytes) }

    /// A name that somebody else chose, safe to show: what is not plain ASCII is escaped.
    static func printable(_ bytes: [UInt8]) -> String {
        bytes.reduce(into: "") { text, byte in
            if byte >= 0x20, byte < 0x7F, byte != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16)
                text += "\\x" + (digits.count < 2 ? "0" : "") + digits
            }
        }
    }

    private static func write(_ descriptor: CInt, _ text: String) { write(descriptor, Array(text.utf8)) }

    private static func write(_ descriptor: CInt, _ content: [UInt8]) {
        var bytes = content[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // A reader that has gone (a closed pipe) wants no more.
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Columns as wide as their widest cell; the last is left as it is.
    static func table(_ rows: [[String]]) {
        guard let count = rows.map(\.count).max() else { return }
        let widths = (0..<count).map { column in
            rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0
        }
        for row in rows {
            let cells = row.enumerated().map { index, cell in
                index == row.count - 1
                    ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
            }
            line(cells.joined(separator: "  "))
        }
    }
}
