import Glibc
import Synchronization

/// A server of raw bytes on loopback: each connection is given to the handler, on a thread of its own, and
/// closed when that returns. Stops when it goes.
final class RawServer: Sendable {
    let port: UInt16
    private let listener: CInt
    private let counted = Atomic<Int>(0)
    private let live = Mutex<Set<CInt>>([])

    var connections: Int { counted.load(ordering: .acquiring) }

    func url(_ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

    init(_ handle: @escaping @Sendable (RawConnection) -> Void) throws {
        (listener, port) = try Self.listen()
        let listener = listener
        let accept: @Sendable (CInt) -> Void = { [weak self] descriptor in
            guard let self else {
                close(descriptor)
                return
            }
            counted.add(1, ordering: .releasing)
            live.withLock { _ = $0.insert(descriptor) }
            startThread { [weak self] in
                handle(RawConnection(descriptor))
                guard self?.live.withLock({ $0.remove(descriptor) }) != nil else { return }
                close(descriptor)
            }
        }
        startThread {
            while true {
                let descriptor = Glibc.accept(listener, nil, nil)
                guard descriptor >= 0 else { return }
                accept(descriptor)
            }
        }
    }

    /// Reads requests and never says a word.
    static func silent() throws -> RawServer {
        try RawServer { connection in while connection.readRequest() != nil {} }
    }

    deinit {
        shutdown(listener, CInt(SHUT_RDWR))
        close(listener)
        let left = live.withLock { live in
            defer { live = [] }
            return live
        }
        for descriptor in left {
            shutdown(descriptor, CInt(SHUT_RDWR))
            close(descriptor)
        }
    }

    static func listen() throws -> (CInt, UInt16) {
        let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, size) == 0 && Glibc.listen(listener, 4_096) == 0
                    && getsockname(listener, address, &size) == 0
            }
        }
        guard isBound else { throw RawServerError(code: errno) }
        return (listener, UInt16(bigEndian: address.sin_port))
    }
}

struct RawServerError: Error {
    let code: CInt
}

struct RawConnection: Sendable {
    let descriptor: CInt

    init(_ descriptor: CInt) {
        self.descriptor = descriptor
    }

    /// Head and body (by Content-Length); nil when the peer has gone.
    func readRequest() -> (head: String, body: [UInt8])? {
        var bytes: [UInt8] = []
        let end = Array("\r\n\r\n".utf8)
        var bodyStart: Int?
        while bodyStart == nil {
            guard let more = read() else { return nil }
            bytes += more
            let first = bytes.indices.dropLast(3).first { bytes[$0..<$0 + 4].elementsEqual(end) }
            bodyStart = first.map { $0 + 4 }
        }
        let head = String(decoding: bytes[..<(bodyStart ?? 0)], as: UTF8.self)
        var body = Array(bytes[(bodyStart ?? 0)...])
        let field = head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
        let length = field.flatMap { Int($0.dropFirst(15).drop { $0 == " " }) } ?? 0
        while body.count < length {
            guard let more = read() else { return nil }
            body += more
        }
        return (head, body)
    }

    func read() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        return count > 0 ? Array(buffer.prefix(count)) : nil
    }

    @discardableResult
    func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    @discardableResult
    func answer(_ status: Int, _ body: String, fields: String = "") -> Bool {
        write("HTTP/1.1 \(status) Words\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
    }

    /// Makes the close a reset.
    func resetOnClose() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
    }
}
