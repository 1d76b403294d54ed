/// Server-sent events from bytes as they come: a value, so that any split of the input gives the same events.
package struct EventStreamParser: Sendable {
    package struct Event: Sendable, Hashable {
        package var name: String
        package var data: String
    }

    /// Longest line; beyond it the stream is given up.
    private static let lineBytesMax = 4 << 20

    private var line: [UInt8] = []
    private var event = ""
    private var data: [String] = []
    private var endedWithReturn = false
    package private(set) var isBroken = false

    package init() {}

    package mutating func feed(_ bytes: [UInt8]) -> [Event] {
        var events: [Event] = []
        for byte in bytes where !isBroken {
            switch byte {
            case 0x0A where endedWithReturn: endedWithReturn = false
            case 0x0A, 0x0D:
                endedWithReturn = byte == 0x0D
                if let event = endLine() { events.append(event) }
            default:
                endedWithReturn = false
                line.append(byte)
                if line.count > Self.lineBytesMax { isBroken = true }
            }
        }
        return events
    }

    private mutating func endLine() -> Event? {
        defer { line = [] }
        guard !line.isEmpty else {
            defer {
                event = ""
                data = []
            }
            return data.isEmpty ? nil : Event(name: event, data: data.joined(separator: "\n"))
        }
        let text = String(decoding: line, as: UTF8.self)
        guard let colon = text.firstIndex(of: ":") else { return nil }
        var value = text[text.index(after: colon)...]
        if value.first == " " { value.removeFirst() }
        switch text[..<colon] {
        case "event": event = String(value)
        case "data": data.append(String(value))
        default: break
        }
        return nil
    }
}
