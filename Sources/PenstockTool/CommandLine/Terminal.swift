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

    private static func write(_ descriptor: CInt, _ text: String) {
        var bytes = Array(text.utf8)[...]
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
