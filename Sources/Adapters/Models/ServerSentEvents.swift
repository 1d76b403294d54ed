/// Reads a stream of server-sent events (WHATWG HTML, 9.2). A value: bytes in, events out, and any split of
/// the bytes gives the same events.
struct ServerSentEvents: Sendable {
    struct Event: Sendable, Hashable {
        /// `message` unless the stream says otherwise.
        var name = "message"
        var data: [UInt8] = []
    }

    struct TooLong: Error, Hashable {
        let bytesMax: Int
    }

    /// The most that one event may have.
    let eventBytesMax: Int
    private var line: [UInt8] = []
    private var event = Event()
    private var hasData = false
    private var endedInReturn = false
    private var isFirstLine = true

    init(eventBytesMax: Int) {
        self.eventBytesMax = eventBytesMax
    }

    mutating func take(_ bytes: [UInt8]) throws(TooLong) -> [Event] {
        var events: [Event] = []
        for byte in bytes {
            // CRLF is one line end, even when the two come apart.
            if byte == 0x0A, endedInReturn {
                endedInReturn = false
                continue
            }
            endedInReturn = byte == 0x0D
            guard byte == 0x0A || byte == 0x0D else {
                guard line.count + event.data.count < eventBytesMax else {
                    throw TooLong(bytesMax: eventBytesMax)
                }
                line.append(byte)
                continue
            }
            if let event = endLine() { events.append(event) }
        }
        return events
    }

    /// The last event, when the stream ended without the empty line after it, as some servers' do.
    mutating func finish() -> Event? {
        if !line.isEmpty { _ = endLine() }
        return endLine()
    }

    private mutating func endLine() -> Event? {
        defer { line.removeAll(keepingCapacity: true) }
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
        }
        guard !line.isEmpty else {
            defer {
                event = Event()
                hasData = false
            }
            return hasData ? event : nil
        }
        let name = line.prefix { $0 != UInt8(ascii: ":") }
        var value = line[name.endIndex...].dropFirst()
        if value.first == 0x20 { value.removeFirst() }
        switch String(decoding: name, as: UTF8.self) {
        case "data":
            if hasData { event.data.append(0x0A) }
            event.data += value
            hasData = true
        case "event": event.name = value.isEmpty ? "message" : String(decoding: value, as: UTF8.self)
        default: break
        }
        return nil
    }
}
