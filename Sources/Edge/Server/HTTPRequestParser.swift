package import Pipeline

/// Reads HTTP/1.1 requests from bytes as they come: a value, so that any split of the input gives the same
/// requests.
///
/// Strict where leniency lets one request hide in another: CRLF only, no folding, no space before a colon,
/// exactly one Host, Content-Length in digits and once, Transfer-Encoding only `chunked` and never beside a
/// length.
package struct HTTPRequestParser: Sendable {
    package struct Limits: Sendable, Hashable {
        package var headBytesMax: Int
        package var bodyBytesMax: Int
        package var fieldsMax: Int

        package init(headBytesMax: Int, bodyBytesMax: Int, fieldsMax: Int) {
            self.headBytesMax = headBytesMax
            self.bodyBytesMax = bodyBytesMax
            self.fieldsMax = fieldsMax
        }
    }

    package struct Failure: Error, Hashable {
        /// What to answer.
        package let status: Int
        package let reason: String
    }

    package struct Parsed: Sendable, Hashable {
        package let request: HTTPRequest
        package let keepsAlive: Bool
        package let isHTTP11: Bool
    }

    package enum Progress: Sendable, Hashable {
        /// Nothing of a request has come.
        case idle
        case head
        case body
    }

    private enum State: Sendable {
        case head
        case sized(Int)
        case chunkSize
        /// So many bytes are left of the chunk.
        case chunk(Int)
        case chunkEnd
        case trailer
        case failed(Failure)
    }

    private struct Head: Sendable {
        var request = HTTPRequest(method: "", target: "")
        var keepsAlive = false
        var isHTTP11 = true
        var trailerBytes = 0
    }

    private let limits: Limits
    private var buffer: [UInt8] = []
    private var start = 0
    /// Up to here the buffer has been searched for the end of the head or line.
    private var searched = 0
    private var state = State.head
    /// The request whose body is coming.
    private var current = Head()
    /// The client waits for `100 Continue` before it sends the body; true until asked once.
    private var wantsContinue = false

    package init(limits: Limits) {
        self.limits = limits
    }

    /// Bytes that have come and are not yet part of a request.
    package var waitingBytes: Int { buffer.count - start }

    package var progress: Progress {
        switch state {
        case .head: waitingBytes == 0 ? .idle : .head
        default: .body
        }
    }

    package mutating func takeWantsContinue() -> Bool {
        defer { wantsContinue = false }
        return wantsContinue
    }

    package mutating func feed(_ bytes: some Sequence<UInt8>) {
        if start > 0, start == buffer.count || start > 16_384 {
            buffer.removeFirst(start)
            searched -= start
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The next whole request, or nil when more bytes are needed. After a failure there is nothing more.
    package mutating func next() throws(Failure) -> Parsed? {
        do throws(Failure) {
            while true {
                switch try step() {
                case .more: continue
                case .needsBytes: return nil
                case .parsed(let parsed): return parsed
                }
            }
        } catch {
            state = .failed(error)
            throw error
        }
    }

    private enum Step {
        case more
        case needsBytes
        case parsed(Parsed)
    }

    private mutating func step() throws(Failure) -> Step {
        switch state {
        case .head: return try head()
        case .sized(let count): return sized(count)
        case .chunkSize: return try chunkSize()
        case .chunk(let left): return chunk(left)
        case .chunkEnd: return try chunkEnd()
        case .trailer: return try trailer()
        case .failed(let failure): throw failure
        }
    }

    private mutating func finish() -> Step {
        state = .head
        searched = start
        wantsContinue = false
        defer { current = Head() }
        return .parsed(
            Parsed(request: current.request, keepsAlive: current.keepsAlive, isHTTP11: current.isHTTP11)
        )
    }
}

// The body.
extension HTTPRequestParser {
    private mutating func sized(_ count: Int) -> Step {
        guard waitingBytes >= count else { return .needsBytes }
        current.request.body = Array(buffer[start..<start + count])
        start += count
        return finish()
    }

    private mutating func chunkSize() throws(Failure) -> Step {
        guard let line = try line(max: 256, "chunk size") else { return .needsBytes }
        // Extensions after a semicolon are allowed and mean nothing to us.
        let digits = line.prefix { Self.hex($0) != nil }
        let rest = line.dropFirst(digits.count).drop { $0 == 0x20 || $0 == 0x09 }
        guard rest.isEmpty || rest.first == UInt8(ascii: ";"), rest.allSatisfy(Self.isText) else {
            throw Failure(status: 400, reason: "bad chunk size")
        }
        guard !digits.isEmpty, digits.count <= 8 else { throw Failure(status: 400, reason: "bad chunk size") }
        var size = 0
        for digit in digits {
            guard let value = Self.hex(digit) else { throw Failure(status: 400, reason: "bad chunk size") }
            size = size << 4 | value
        }
        guard current.request.body.count + size <= limits.bodyBytesMax else {
            throw Failure(status: 413, reason: "body too large")
        }
        state = size == 0 ? .trailer : .chunk(size)
        return .more
    }

    private mutating func chunk(_ left: Int) -> Step {
        let count = min(left, waitingBytes)
        guard count > 0 else { return .needsBytes }
        current.request.body.append(contentsOf: buffer[start..<start + count])
        start += count
        searched = start
        state = count == left ? .chunkEnd : .chunk(left - count)
        return .more
    }

    private mutating func chunkEnd() throws(Failure) -> Step {
        guard waitingBytes >= 2 else { return .needsBytes }
        guard buffer[start] == 0x0D, buffer[start + 1] == 0x0A else {
            throw Failure(status: 400, reason: "bad end of chunk")
        }
        start += 2
        searched = start
        state = .chunkSize
        return .more
    }

    /// Trailers are checked and dropped: nobody signed up for fields that come after the body.
    private mutating func trailer() throws(Failure) -> Step {
        guard let line = try line(max: limits.headBytesMax, "trailer") else { return .needsBytes }
        guard !line.isEmpty else { return finish() }
        _ = try field(line)
        current.trailerBytes += line.count
        guard current.trailerBytes <= limits.headBytesMax else {
            throw Failure(status: 431, reason: "trailers too large")
        }
        return .more
    }

    /// A line without its CRLF; nil when it has not come whole.
    private mutating func line(max: Int, _ what: String) throws(Failure) -> [UInt8]? {
        var index = Swift.max(searched, start)
        while index < buffer.count {
            if buffer[index] == 0x0A {
                guard index > start, buffer[index - 1] == 0x0D else {
                    throw Failure(status: 400, reason: "a line feed without its carriage return")
                }
                let line = Array(buffer[start..<index - 1])
                start = index + 1
                searched = start
                return line
            }
            guard index - start < max else { throw Failure(status: 400, reason: "\(what) too long") }
            index += 1
        }
        searched = index
        return nil
    }

    private static func hex(_ byte: UInt8) -> Int? {
        switch byte {
        case 0x30...0x39: Int(byte - 0x30)
        case 0x41...0x46: Int(byte - 0x41) + 10
        case 0x61...0x66: Int(byte - 0x61) + 10
        default: nil
        }
    }
}

// The head.
extension HTTPRequestParser {
    private mutating func head() throws(Failure) -> Step {
        // RFC 9112 2.2: an empty line before the request line is passed over.
        while waitingBytes > 0, buffer[start] == 0x0D {
            guard waitingBytes > 1 else { return .needsBytes }
            guard buffer[start + 1] == 0x0A else {
                throw Failure(status: 400, reason: "a carriage return without its line feed")
            }
            start += 2
            searched = start
        }
        guard let end = try headEnd() else { return .needsBytes }
        let head = try parse(lines(buffer[start..<end]))
        start = end + 4
        searched = start
        return try begin(head)
    }

    /// Where the empty line begins that ends the head.
    private mutating func headEnd() throws(Failure) -> Int? {
        var index = Swift.max(searched - 3, start)
        while index + 3 < buffer.count {
            if buffer[index] == 0x0D, buffer[index + 1] == 0x0A, buffer[index + 2] == 0x0D,
                buffer[index + 3] == 0x0A
            {
                guard index - start <= limits.headBytesMax else {
                    throw Failure(status: 431, reason: "head too large")
                }
                return index
            }
            index += 1
        }
        searched = buffer.count
        // A bare line feed can never become a good head: say so now, rather than wait for a time-out.
        if let feed = buffer[start...].firstIndex(of: 0x0A), feed == start || buffer[feed - 1] != 0x0D {
            throw Failure(status: 400, reason: "a line feed without its carriage return")
        }
        // Up to three bytes of the head's end may be there already.
        guard waitingBytes <= limits.headBytesMax + 3 else {
            throw Failure(status: 431, reason: "head too large")
        }
        return nil
    }

    private func lines(_ head: ArraySlice<UInt8>) throws(Failure) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var line: [UInt8] = []
        var index = head.startIndex
        while index < head.endIndex {
            let byte = head[index]
            if byte == 0x0D {
                guard index + 1 < head.endIndex, head[index + 1] == 0x0A else {
                    throw Failure(status: 400, reason: "a carriage return without its line feed")
                }
                lines.append(line)
                line = []
                index += 2
                continue
            }
            guard byte != 0x0A, byte != 0 else {
                throw Failure(status: 400, reason: "a control character in the head")
            }
            line.append(byte)
            index += 1
        }
        lines.append(line)
        return lines
    }

    private func parse(_ lines: [[UInt8]]) throws(Failure) -> (HTTPRequest, isHTTP11: Bool) {
        let parts = lines[0].split(separator: 0x20, omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, parts[0].allSatisfy(Self.isToken), !parts[1].isEmpty,
            parts[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw Failure(status: 400, reason: "bad request line") }
        let isHTTP11: Bool
        switch String(decoding: parts[2], as: UTF8.self) {
        case "HTTP/1.1": isHTTP11 = true
        case "HTTP/1.0": isHTTP11 = false
        case let version where version.hasPrefix("HTTP/"):
            throw Failure(status: 505, reason: "HTTP/1.1 is spoken here")
        default: throw Failure(status: 400, reason: "bad request line")
        }
        guard lines.count - 1 <= limits.fieldsMax else {
            throw Failure(status: 431, reason: "too many fields")
        }
        var request = HTTPRequest(
            method: String(decoding: parts[0], as: UTF8.self),
            target: Self.originForm(String(decoding: parts[1], as: UTF8.self))
        )
        for line in lines.dropFirst() {
            let (name, value) = try field(line)
            request.fields.append(name, value)
        }
        return (request, isHTTP11)
    }

    private func field(_ line: [UInt8]) throws(Failure) -> (String, String) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0,
            line[..<colon].allSatisfy(Self.isToken)
        else {
            throw Failure(status: 400, reason: "bad field name")
        }
        var value = line[(colon + 1)...]
        while value.first == 0x20 || value.first == 0x09 { value.removeFirst() }
        while value.last == 0x20 || value.last == 0x09 { value.removeLast() }
        guard value.allSatisfy(Self.isText) else {
            throw Failure(status: 400, reason: "a control character in a field")
        }
        return (String(decoding: line[..<colon], as: UTF8.self), String(decoding: value, as: UTF8.self))
    }

    private mutating func begin(_ parsed: (HTTPRequest, isHTTP11: Bool)) throws(Failure) -> Step {
        let (request, isHTTP11) = parsed
        let hosts = request.fields.values("Host")
        guard hosts.count == 1 || !isHTTP11 && hosts.isEmpty else {
            throw Failure(status: 400, reason: "exactly one Host field is needed")
        }
        let connection = request.fields.values("Connection").joined(separator: ",").lowercased()
        let words = connection.split(separator: ",").map { $0.trimmingSpaces }
        let keepsAlive = isHTTP11 ? !words.contains("close") : words.contains("keep-alive")
        current = Head(request: request, keepsAlive: keepsAlive, isHTTP11: isHTTP11)
        let lengths = request.fields.values("Content-Length")
        let encodings = request.fields.values("Transfer-Encoding")
        if let expectation = request.fields["Expect"] {
            guard expectation.lowercased() == "100-continue" else {
                throw Failure(status: 417, reason: "only 100-continue can be expected")
            }
            wantsContinue = isHTTP11
        }
        if !encodings.isEmpty {
            guard isHTTP11, lengths.isEmpty, encodings.count == 1 else {
                throw Failure(status: 400, reason: "bad Transfer-Encoding")
            }
            guard encodings[0].lowercased() == "chunked" else {
                throw Failure(status: 501, reason: "only chunked is understood")
            }
            state = .chunkSize
            return .more
        }
        guard let length = lengths.first else { return finish() }
        guard lengths.count == 1, !length.isEmpty, length.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        else {
            throw Failure(status: 400, reason: "bad Content-Length")
        }
        guard let count = Int(length), count <= limits.bodyBytesMax else {
            throw Failure(status: 413, reason: "body too large")
        }
        state = .sized(count)
        return .more
    }

    private static func isText(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != 0x7F || byte == 0x09
    }

    /// `http://host/path` is what a proxy is asked for, and must be understood by everybody (RFC 9112 3.2.2).
    private static func originForm(_ target: String) -> String {
        guard let scheme = ["http://", "https://"].first(where: { target.lowercased().hasPrefix($0) }) else {
            return target
        }
        let rest = target.dropFirst(scheme.count)
        guard let slash = rest.firstIndex(where: { $0 == "/" || $0 == "?" }) else { return "/" }
        return rest[slash] == "/" ? String(rest[slash...]) : "/" + rest[slash...]
    }

    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60,
            0x7C, 0x7E:
            true
        default: false
        }
    }
}

extension Substring {
    var trimmingSpaces: String {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}
