import Edge
import Glibc
import Pipeline
import Synchronization
import Testing

@Suite("HTTP client")
struct CurlTransportTests {
    /// Generous: they are for what hangs, on a machine that does much else.
    static let limits = HTTPLimits(total: .seconds(120), silence: .seconds(60), bodyBytesMax: 1 << 20)

    static func transport(_ transfersMax: Int = 16, shards: Int = 1) -> CurlTransport {
        CurlTransport(transfersMax: transfersMax, shards: shards, userAgent: "penstock-tests")
    }

    static func post(_ url: String, _ body: String = "{}") -> HTTPRequest {
        HTTPRequest(
            method: "POST",
            target: url,
            fields: ["Content-Type": "application/json"],
            body: Array(body.utf8)
        )
    }

    static func get(_ url: String) -> HTTPRequest { HTTPRequest(method: "GET", target: url) }

    @Test("a request arrives as it was given, without fields that nobody asked for")
    func asGiven() async throws {
        let heads = Mutex<[String]>([])
        let server = try RawServer { connection in
            guard let request = connection.readRequest() else { return }
            heads.withLock { $0 = [request.head, String(decoding: request.body, as: UTF8.self)] }
            connection.answer(201, "made", fields: "X-One: a\r\nX-One: b\r\n")
        }
        var request = Self.post(server.url("/a/../b?x=1%2F2"), "hello\0there")
        request.method = "PUT"
        request.fields["X-Empty"] = ""

        let response = try await Self.transport().send(request, limits: Self.limits)

        #expect(response.status == 201)
        #expect(response.fields.values("x-one") == ["a", "b"])
        #expect(response.body == Array("made".utf8))
        let heard = heads.withLock { $0 }
        try #require(heard.count == 2)
        #expect(heard[0].hasPrefix("PUT /a/../b?x=1%2F2 HTTP/1.1\r\n"))
        #expect(heard[1] == "hello\0there")
        #expect(heard[0].contains("\r\nX-Empty:\r\n"))
        #expect(!heard[0].contains("Expect:") && !heard[0].contains("Accept:"))
        #expect(heard[0].contains("\r\nContent-Type: application/json\r\n"))
    }

    @Test("connections are kept, and a chunked body is put together")
    func keepAlive() async throws {
        let server = try RawServer { connection in
            while connection.readRequest() != nil {
                connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                connection.write("2;x=y\r\nde\r\n0\r\n\r\n")
            }
        }
        let transport = Self.transport()
        for _ in 0..<20 {
            let response = try await transport.send(Self.get(server.url("/")), limits: Self.limits)
            #expect(response.body == Array("abcde".utf8))
        }
        #expect(server.connections == 1)
    }

    @Test("a redirect is an answer, not an order", arguments: [301, 302, 307, 308])
    func redirect(status: Int) async throws {
        let server = try RawServer { connection in
            _ = connection.readRequest()
            connection.answer(status, "", fields: "Location: http://127.0.0.1:1/secret\r\n")
        }
        let response = try await Self.transport().send(Self.get(server.url("/")), limits: Self.limits)
        #expect(response.status == status && response.fields["location"] == "http://127.0.0.1:1/secret")
        #expect(server.connections == 1)
    }

    @Test("a POST whose kept connection closes without an answer is interrupted and not sent again")
    func noSilentResend() async throws {
        let requests = Mutex<[String]>([])
        let server = try RawServer { connection in
            for isAnswered in [true, false] {
                guard let request = connection.readRequest() else { return }
                requests.withLock { $0.append(String(request.head.prefix(4))) }
                if isAnswered { connection.answer(200, "ok") }
            }
        }
        let transport = Self.transport()
        _ = try await transport.send(Self.post(server.url("/")), limits: Self.limits)

        let error = await #expect(throws: HTTPTransportError.self) {
            try await transport.send(Self.post(server.url("/")), limits: Self.limits)
        }

        #expect(error?.kind == .interrupted)
        #expect(requests.withLock { $0 } == ["POST", "POST"])
        // A GET may go again on a new connection, and does.
        _ = try await transport.send(Self.get(server.url("/")), limits: Self.limits)
        _ = try await transport.send(Self.get(server.url("/")), limits: Self.limits)
        #expect(requests.withLock { $0 } == ["POST", "POST", "GET ", "GET ", "GET "])
    }

    @Test(
        "a reset after the request was read is interrupted",
        arguments: ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"]
    )
    func reset(beginning: String) async throws {
        let server = try RawServer { connection in
            _ = connection.readRequest()
            connection.write(beginning)
            connection.resetOnClose()
        }
        let error = await #expect(throws: HTTPTransportError.self) {
            try await Self.transport().send(Self.post(server.url("/")), limits: Self.limits)
        }
        #expect(error?.kind == .interrupted)
        #expect(server.connections == 1)
    }

    @Test("what can not be reached was not sent")
    func unreachable() async throws {
        let (listener, port) = try RawServer.listen()
        close(listener)
        for url in ["http://127.0.0.1:\(port)/", "http://nobody.invalid/", "https://127.0.0.1:\(port)/"] {
            let error = await #expect(throws: HTTPTransportError.self) {
                try await Self.transport().send(Self.post(url), limits: Self.limits)
            }
            #expect(error?.kind == .unreachable, "\(url): \(String(describing: error))")
        }
    }

    struct Bad: Sendable {
        var method = "GET"
        var name = "X"
        var value = "a"
        var path = "/"
    }

    @Test(
        "what would let a value add a line is refused before it is sent",
        arguments: [
            Bad(value: "a\r\nHost: b"), Bad(value: "a\0b"), Bad(value: "a\nb"), Bad(name: "X: y"),
            Bad(name: ""), Bad(name: "X\r\nY"), Bad(method: "GET\r\nX: y"), Bad(path: "/\r\nX: y"),
        ]
    )
    func invalid(bad: Bad) async throws {
        let server = try RawServer.silent()
        let request = HTTPRequest(
            method: bad.method,
            target: server.url(bad.path),
            fields: HTTPFields([.init(bad.name, bad.value)])
        )
        let error = await #expect(throws: HTTPTransportError.self) {
            try await Self.transport().send(request, limits: Self.limits)
        }
        #expect(error?.kind == .invalid)
        #expect(server.connections == 0)
    }

    @Test("only HTTP is spoken", arguments: ["file:///etc/passwd", "gopher://127.0.0.1/", "http://", ""])
    func otherProtocols(url: String) async throws {
        let error = await #expect(throws: HTTPTransportError.self) {
            try await Self.transport().send(Self.get(url), limits: Self.limits)
        }
        #expect(error?.kind == .invalid)
    }
}
