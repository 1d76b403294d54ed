import Foundation

/// HTTP/1.1 by hand on a blocking socket, so that nothing that is tested tests itself.
enum Wire {
    struct Message: Sendable {
        var start: String
        /// Names in lower case.
        var fields: [String: String]
        var body: [UInt8]

        var status: Int { Int(start.split(separator: " ").dropFirst().first ?? "") ?? 0 }
        var method: String { String(start.split(separator: " ").first ?? "") }
        var target: String { String(start.split(separator: " ").dropFirst().first ?? "") }
        var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// One request on a connection of its own.
    static func send(
        _ port: UInt16,
        _ method: String,
        _ target: String,
        _ fields: [String: String] = [:],
        _ body: [UInt8] = []
    ) throws -> Message {
        let socket = try connect(port)
        defer { close(socket) }
        var head = "\(method) \(target) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
        for (name, value) in fields { head += "\(name): \(value)\r\n" }
        head += "Content-Length: \(body.count)\r\n\r\n"
        // An answer may come before all is sent (413), so a failed write is judged by what is read.
        _ = write(socket, Array(head.utf8) + body)
        var reader = Reader(socket: socket)
        guard let answer = reader.message() else { throw HarnessError("no answer from port \(port)") }
        return answer
    }

    static func connect(_ port: UInt16) throws -> CInt {
        let socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue) | 0x80000, 0)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = loopback(port)
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else {
            close(socket)
            throw HarnessError("port \(port): \(String(cString: strerror(errno)))")
        }
        return socket
    }

    static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    static func write(_ socket: CInt, _ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, 0x4000) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Reads messages with a Content-Length, or until the end of the connection.
    struct Reader {
        let socket: CInt
        private var buffer: [UInt8] = []

        init(socket: CInt) {
            self.socket = socket
        }

        /// Nil at the end of the connection.
        mutating func message() -> Message? {
            let blank = Array("\r\n\r\n".utf8)
            var end: Int?
            while end == nil {
                end = buffer.indices.first { buffer[$0...].starts(with: blank) }
                guard end != nil || fill() else { return nil }
            }
            guard let end else { return nil }
            let lines = String(decoding: buffer[..<end], as: UTF8.self).components(separatedBy: "\r\n")
            buffer.removeFirst(end + 4)
            var fields: [String: String] = [:]
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1).map {
                    $0.trimmingCharacters(in: .whitespaces)
                }
                if parts.count == 2 { fields[parts[0].lowercased()] = parts[1] }
            }
            var message = Message(start: lines[0], fields: fields, body: [])
            if let length = fields["content-length"].flatMap(Int.init) {
                while buffer.count < length { guard fill() else { return nil } }
                message.body = Array(buffer.prefix(length))
                buffer.removeFirst(length)
            } else if lines[0].hasPrefix("HTTP/") {
                while fill() {}
                message.body = buffer
            }
            return message
        }

        private mutating func fill() -> Bool {
            var piece = [UInt8](repeating: 0, count: 65_536)
            let count = recv(socket, &piece, piece.count, 0)
            guard count > 0 else { return false }
            buffer += piece[..<count]
            return true
        }
    }
}
