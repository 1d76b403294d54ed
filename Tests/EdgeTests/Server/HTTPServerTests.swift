import Edge
import Foundation
import Pipeline
import Synchronization
import Testing

@Suite("HTTP server")
struct HTTPServerTests {
    /// Echoes bodies; `/stream` counts until its reader goes; `/slow` waits for the test.
    private final class Handler: HTTPHandler {
        let streams = Mutex((begun: 0, ended: 0))
        let gate = AsyncStream.makeStream(of: Void.self)

        func handle(_ request: HTTPRequest, from peer: String) async -> HTTPAnswer {
            switch request.target {
            case "/stream":
                return .stream(status: 200, fields: ["Content-Type": "text/event-stream"]) { body in
                    self.streams.withLock { $0.begun += 1 }
                    var number = 0
                    while !Task.isCancelled, await body.write(Array("data: \(number)\n\n".utf8)) {
                        number += 1
                        try? await Task.sleep(for: .milliseconds(5))
                    }
                    self.streams.withLock { $0.ended += 1 }
                }
            case "/slow":
                for await _ in gate.stream { break }
                return .whole(HTTPResponse(status: 200, body: Array("late".utf8)))
            case "/split":
                return .whole(
                    HTTPResponse(status: 200, fields: ["X-Evil": "a\r\nX-Forged: b", "X-Good": "c"])
                )
            default:
                return .whole(HTTPResponse(status: 200, body: Array("\(peer) ".utf8) + request.body))
            }
        }
    }

    private func start(
        _ handler: Handler = Handler(),
        _ change: (inout HTTPServerSettings) -> Void = { _ in }
    ) throws -> (server: HTTPServer, port: UInt16) {
        var settings = HTTPServerSettings(host: "127.0.0.1", port: 0)
        settings.loops = 1
        change(&settings)
        let server = HTTPServer(settings: settings, handler: handler)
        return (server, try server.start())
    }

    private func wait(_ condition: @Sendable () -> Bool) async throws -> Bool {
        for _ in 0..<1_000 {
            if condition() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test("requests on one connection are answered in order, pipelined too")
    func keepsAlive() throws {
        let (_, port) = try start()
        let client = try RawClient(port: port)

        client.send(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\noneGET / HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthree")
        let text = client.read()

        #expect(text.components(separatedBy: "HTTP/1.1 200 OK").count == 4)
        #expect(text.contains("127.0.0.1 one") && text.hasSuffix("127.0.0.1 three"))
    }

    @Test("a client that has finished sending is still answered")
    func halfClose() throws {
        let (_, port) = try start()
        let client = try RawClient(port: port)

        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        client.halfClose()

        #expect(client.read().hasSuffix("127.0.0.1 hi"))
    }

    @Test("what is malformed is answered with its status, and the connection is closed after the answer")
    func malformed() throws {
        let (_, port) = try start()
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "400"), ("nonsense\r\n\r\n", "400"),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
                    + String(repeating: "x", count: 200_000), "413"
            ),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: " + String(repeating: "y", count: 20_000) + "\r\n\r\n", "431"),
        ] {
            let client = try RawClient(port: port)
            client.send(request)
            let text = client.read()
            #expect(text.hasPrefix("HTTP/1.1 \(status)"), "\(text.prefix(60))")
            #expect(text.contains("Connection: close"))
        }
    }

    @Test("a body that waits for 100 Continue gets it")
    func continues() throws {
        let (_, port) = try start()
        let client = try RawClient(port: port)

        client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        #expect(client.read(until: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
        client.send("body")

        #expect(client.read(until: "body").contains("200 OK"))
    }

    @Test("HEAD has the length and no body")
    func head() throws {
        let (_, port) = try start()
        let client = try RawClient(port: port)

        client.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        let text = client.read()

        #expect(text.contains("Content-Length: 10") && text.hasSuffix("\r\n\r\n"))
    }

    @Test("a field with a line end in its value is left out, not sent")
    func splitting() throws {
        let (_, port) = try start()
        let client = try RawClient(port: port)

        client.send("GET /split HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        let text = client.read()

        #expect(text.contains("X-Good: c") && !text.contains("Forged"))
    }

    @Test("a stream goes on until its reader leaves, and its task is cancelled then")
    func stream() async throws {
        let handler = Handler()
        let (_, port) = try start(handler)
        do {
            let client = try RawClient(port: port)
            client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            let text = client.read(until: "data: 3")
            #expect(text.contains("Transfer-Encoding: chunked") && text.contains("data: 0"))
        }

        #expect(try await wait { handler.streams.withLock { $0.begun == 1 && $0.ended == 1 } })
    }

    @Test("an old client gets a stream without chunks, ended by the connection")
    func oldStream() throws {
        let (_, port) = try start()
        let client = try RawClient(port: port)

        client.send("GET /stream HTTP/1.0\r\nHost: x\r\n\r\n")
        let text = client.read(until: "data: 2")

        #expect(!text.contains("chunked") && text.contains("\r\n\r\ndata: 0\n\n"))
    }

    @Test("a head that comes too slowly is answered 408 and closed")
    func slowHead() throws {
        let (_, port) = try start { $0.headTimeout = .milliseconds(600) }
        let client = try RawClient(port: port)

        client.send("GET / HTTP/1.1\r\nHo")

        #expect(client.read().hasPrefix("HTTP/1.1 408"))
    }

    @Test("an idle connection is closed, one with a request under way is not")
    func idle() async throws {
        let handler = Handler()
        let (_, port) = try start(handler) { $0.idleTimeout = .milliseconds(600) }
        let idle = try RawClient(port: port)
        let busy = try RawClient(port: port)
        busy.send("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        #expect(idle.read() == "")
        handler.gate.continuation.yield()

        #expect(busy.read().hasSuffix("late"))
    }

    @Test("draining answers what is under way and takes nothing new")
    func drain() async throws {
        let handler = Handler()
        let (server, port) = try start(handler)
        let idle = try RawClient(port: port)
        let busy = try RawClient(port: port)
        busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = idle.read(until: "127.0.0.1")
        async let drained: Void = server.drain(within: .seconds(10))
        #expect(idle.read() == "")
        handler.gate.continuation.yield()

        #expect(busy.read().hasSuffix("late"))
        await drained
    }

    @Test("two hundred requests before a half-close are all answered")
    func pipelinedHalfClose() throws {
        let (_, port) = try start()
        let client = try RawClient(port: port)

        client.send(String(repeating: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", count: 200))
        client.halfClose()

        #expect(client.read().components(separatedBy: "200 OK").count == 201)
    }

    @Test("who asks and never reads is not asked to pay with our memory")
    func neverReads() async throws {
        let handler = Handler()
        let (_, port) = try start(handler)
        let body = String(repeating: "x", count: 60_000)
        let request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n\(body)"
        let sent = Mutex(0)
        let client = try RawClient(port: port, sendSeconds: 2)

        for _ in 0..<2_000 where client.send(request) { sent.withLock { $0 += 1 } }

        // The kernel's buffers on both sides, and our own limit, are all that it could fill.
        #expect(sent.withLock { $0 } < 400)
    }

    @Test("draining sends the rest of an answer to a slow reader")
    func drainsSlowReader() async throws {
        let handler = Handler()
        let (server, port) = try start(handler)
        let client = try RawClient(port: port)
        let body = String(repeating: "x", count: 3_000_000)
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n\(body)")
        #expect(client.read(until: "xxxx").contains("200 OK"))

        async let drained: Void = server.drain(within: .seconds(10))
        let rest = client.read()
        await drained

        #expect(rest.utf8.count > 2_900_000)
    }

    @Test("two thousand connections at once are all answered")
    func many() async throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let count = min(2_000, (Int(min(limit.rlim_max, 100_000)) - 200) / 2)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let (_, port) = try start { $0.loops = 2 }

        let clients = try (0..<count).map { _ in try RawClient(port: port) }
        for (number, client) in clients.enumerated() {
            client.send(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \("\(number)".count)\r\nConnection: close\r\n\r\n\(number)"
            )
        }
        let wrong = clients.enumerated().filter { !$0.element.read().hasSuffix("127.0.0.1 \($0.offset)") }

        #expect(count >= 300)
        #expect(wrong.isEmpty)
    }
}
