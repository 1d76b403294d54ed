import Edge
import Glibc
import Pipeline
import Synchronization
import Testing

@Suite("HTTP client: limits and streams")
struct CurlLimitTests {
    typealias Base = CurlTransportTests

    @Test("the size limit counts what comes out of decompression")
    func bomb() async throws {
        let bomb = GzipBomb.bytes
        #expect(bomb.count < 100_000)
        let server = try RawServer { connection in
            _ = connection.readRequest()
            connection.write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")
            connection.write("Content-Length: \(bomb.count)\r\n\r\n")
            connection.write(bomb)
        }
        let error = await #expect(throws: HTTPTransportError.self) {
            try await Base.transport().send(Base.get(server.url("/")), limits: Base.limits)
        }
        #expect(error?.kind == .limit)
        var wide = Base.limits
        wide.bodyBytesMax = GzipBomb.unpackedCount
        let response = try await Base.transport().send(Base.get(server.url("/")), limits: wide)
        #expect(response.body.count == GzipBomb.unpackedCount)
    }

    @Test("a head without end, a body without end: the limit ends both", arguments: [true, false])
    func endless(isHead: Bool) async throws {
        let server = try RawServer { connection in
            _ = connection.readRequest()
            connection.write(isHead ? "HTTP/1.1 200 OK\r\n" : "HTTP/1.1 200 OK\r\n\r\n")
            while connection.write("X-Name: \(String(repeating: "v", count: 1_000))\r\n") {}
        }
        let error = await #expect(throws: HTTPTransportError.self) {
            try await Base.transport().send(Base.get(server.url("/")), limits: Base.limits)
        }
        #expect(error?.kind == .limit)
    }

    @Test("a server that says nothing, and one that drips, end at their limits", arguments: [true, false])
    func slow(isDripping: Bool) async throws {
        let server = try RawServer { connection in
            _ = connection.readRequest()
            guard isDripping else { return _ = connection.readRequest() }
            connection.write("HTTP/1.1 200 OK\r\n\r\n")
            while connection.write("x") { usleep(50_000) }
        }
        let limits =
            isDripping
            ? HTTPLimits(total: .milliseconds(500), silence: .seconds(10), bodyBytesMax: 1_000)
            : HTTPLimits(total: .seconds(30), silence: .seconds(1), bodyBytesMax: 1_000)
        let error = await #expect(throws: HTTPTransportError.self) {
            try await Base.transport().send(Base.get(server.url("/")), limits: limits)
        }
        #expect(error?.kind == .limit)
    }

    @Test("a stream waits for its receiver with bounded memory, and loses nothing")
    func backPressure() async throws {
        let piece = [UInt8](repeating: 7, count: 64 * 1_024)
        let total = piece.count * 512
        let written = Atomic<Int>(0)
        let server = try RawServer { connection in
            _ = connection.readRequest()
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n")
            for _ in 0..<512 where connection.write(piece) { written.add(1, ordering: .relaxed) }
        }
        let other = try RawServer { connection in
            while connection.readRequest() != nil { connection.answer(200, "ok") }
        }
        let received = Atomic<Int>(0)
        let held = Gate()
        let begun = Gate()
        var limits = Base.limits
        limits.bodyBytesMax = total
        let transport = Base.transport()
        let stream = Task { [limits] in
            try await transport.stream(Base.get(server.url("/")), limits: limits) { bytes in
                if received.add(bytes.count, ordering: .relaxed).oldValue == 0 {
                    begun.open()
                    await held.wait()
                }
            }
        }
        await begun.wait()
        // Others go on meanwhile; 500 of them are time enough to fill every buffer on the way.
        for _ in 0..<500 { _ = try await transport.send(Base.get(other.url("/")), limits: limits) }
        #expect(written.load(ordering: .relaxed) * piece.count < total, "the server was not held back")
        held.open()
        let response = try await stream.value
        #expect(response.status == 200 && response.body.isEmpty)
        #expect(received.load(ordering: .relaxed) == total)
    }

    @Test("events arrive when they are sent; the body of a refusal is in the response")
    func events() async throws {
        let next = Gate()
        let server = try RawServer { connection in
            _ = connection.readRequest()
            connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            next.block()
            connection.write("data: 2\n\n")
        }
        let pieces = Mutex<[String]>([])
        _ = try await Base.transport().stream(Base.get(server.url("/")), limits: Base.limits) { bytes in
            pieces.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
            next.open()
        }
        #expect(pieces.withLock { $0 } == ["data: 1\n\n", "data: 2\n\n"])

        let refusing = try RawServer { connection in
            _ = connection.readRequest()
            connection.answer(429, "slow down", fields: "Retry-After: 7\r\n")
        }
        let response = try await Base.transport().stream(
            Base.get(refusing.url("/")),
            limits: Base.limits
        ) { _ in Issue.record("a piece of a refusal") }
        #expect(response.status == 429 && response.body == Array("slow down".utf8))
        #expect(response.retryAfter == .seconds(7))
    }

    @Test("an error of the receiver ends the transfer")
    func receiverThrows() async throws {
        let server = try RawServer { connection in
            _ = connection.readRequest()
            connection.write("HTTP/1.1 200 OK\r\n\r\n")
            while connection.write([UInt8](repeating: 1, count: 65_536)) {}
        }
        let error = await #expect(throws: HTTPTransportError.self) {
            try await Base.transport().stream(Base.get(server.url("/")), limits: Base.limits) { _ in
                throw CancellationError()
            }
        }
        #expect(error?.kind == .cancelled)
    }
}

/// A small file that unpacks to a large one: zeros.
enum GzipBomb {
    static let unpackedCount = 16 << 20

    static let bytes: [UInt8] = {
        let process = popen("head -c \(unpackedCount) /dev/zero | gzip -9n", "r")
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while let process {
            let count = fread(&buffer, 1, buffer.count, process)
            guard count > 0 else {
                pclose(process)
                break
            }
            bytes += buffer.prefix(count)
        }
        return bytes
    }()
}
