import Foundation
import JSON

/// Slack's and WhatsApp's APIs, as far as replies need them: a server of our own that records what it is
/// sent, and misbehaves when told to.
final class FakePlatforms: @unchecked Sendable {
    enum Fault: Sendable {
        case status(Int, retryAfter: Int?)
        /// The message is taken and the answer is lost.
        case dropAnswer
        /// The connection ends before the message is taken.
        case dropRequest
    }

    struct Post: Sendable {
        let path: String
        let body: JSONValue
        let isAuthorized: Bool

        /// Slack's and WhatsApp's text.
        var text: String { body["text"]?.stringValue ?? body["text"]?["body"]?.stringValue ?? "" }
        /// The idempotency key that travels with the message.
        var key: String {
            body["metadata"]?["event_payload"]?["idempotency_key"]?.stringValue
                ?? body["biz_opaque_callback_data"]?.stringValue ?? ""
        }
    }

    let port: UInt16
    private let listener: CInt
    // Guards everything below, and wakes those who wait for posts.
    private let condition = NSCondition()
    private var taken: [Post] = []
    private var requestCount = 0
    private var faults: [Fault] = []

    init() throws {
        listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | 0x80000, 0)
        var address = Wire.loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) | listen(listener, 512) | getsockname(listener, $0, &length)
            }
        }
        guard status == 0 else { throw HarnessError("no port: \(String(cString: strerror(errno)))") }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in
            while case let connection = accept4(listener), connection >= 0 {
                Thread.detachNewThread { self.serve(connection) }
            }
        }
    }

    func stop() {
        shutdown(listener, CInt(SHUT_RDWR))
        close(listener)
    }

    /// Messages that were taken, in order.
    var posts: [Post] { condition.withLock { taken } }
    var requests: Int { condition.withLock { requestCount } }

    /// The next messages meet these, one each.
    func inject(_ faults: [Fault]) { condition.withLock { self.faults += faults } }

    /// Waits until so many messages were taken that the predicate holds.
    func wait(seconds: Double, until isDone: ([Post]) -> Bool) -> Bool {
        let deadline = Date(timeIntervalSinceNow: seconds)
        return condition.withLock {
            while !isDone(taken) { guard condition.wait(until: deadline) else { return isDone(taken) } }
            return true
        }
    }

    private func serve(_ connection: CInt) {
        defer { close(connection) }
        var reader = Wire.Reader(socket: connection)
        while let request = reader.message() {
            guard let answer = answer(to: request), Wire.write(connection, answer) else { return }
        }
    }

    /// Nil to end the connection without one.
    private func answer(to request: Wire.Message) -> [UInt8]? {
        condition.withLock {
            requestCount += 1
            defer { condition.broadcast() }
            if request.method == "GET" { return Self.bytes(200, history(request)) }
            let fault = faults.isEmpty ? nil : faults.removeFirst()
            switch fault {
            case .dropRequest: return nil
            case .status(let status, let after):
                return Self.bytes(status, ["ok": false, "error": "ratelimited"], after: after)
            case .dropAnswer, nil: break
            }
            let post = Post(
                path: request.target,
                body: (try? JSONValue(json: request.body)) ?? .null,
                isAuthorized: request.fields["authorization"] == "Bearer \(World.token)"
            )
            taken.append(post)
            if case .dropAnswer = fault { return nil }
            let id = JSONValue.string("1700000000.\(String(format: "%06d", taken.count))")
            return Self.bytes(200, ["ok": true, "ts": id, "messages": [["id": id]]])
        }
    }

    /// `conversations.history` and `.replies`: what was taken for the channel, with its metadata.
    private func history(_ request: Wire.Message) -> JSONValue {
        let messages = taken.enumerated().compactMap { index, post -> JSONValue? in
            guard let channel = post.body["channel"]?.stringValue,
                request.target.contains("channel=\(channel)&")
            else { return nil }
            let ts = JSONValue.string("1700000000.\(String(format: "%06d", index + 1))")
            return ["ts": ts, "metadata": post.body["metadata"] ?? .null]
        }
        return ["ok": true, "messages": .array(messages)]
    }

    private static func bytes(_ status: Int, _ body: JSONValue, after: Int? = nil) -> [UInt8] {
        let body = body.json
        let retry = after.map { "Retry-After: \($0)\r\n" } ?? ""
        let head = "HTTP/1.1 \(status) Fake\r\nContent-Type: application/json\r\n\(retry)"
        return Array("\(head)Content-Length: \(body.count)\r\n\r\n".utf8) + body
    }
}

private func accept4(_ listener: CInt) -> CInt {
    let connection = accept(listener, nil, nil)
    if connection >= 0 { _ = fcntl(connection, F_SETFD, FD_CLOEXEC) }
    return connection
}
