import Edge
import Glibc
import Pipeline
import Synchronization
import Testing

@testable import Edge

@Suite("HTTP client: many, and cancelling them", .serialized)
struct CurlManyTests {
    typealias Base = CurlTransportTests

    @Test("cancelling ends a transfer that waits its turn, waits for an answer, or receives")
    func cancel() async throws {
        for path in ["/answer", "/body"] {
            let busy = Gate()
            let server = try RawServer { connection in
                guard let request = connection.readRequest() else { return }
                if request.head.contains("/body") { connection.write("HTTP/1.1 200 OK\r\n\r\nbegun") }
                busy.open()
                _ = connection.readRequest()
            }
            let transport = Base.transport(1)
            let first = Task { try await transport.send(Base.get(server.url(path)), limits: Base.limits) }
            await busy.wait()
            let second = Task { try await transport.send(Base.get(server.url("/")), limits: Base.limits) }
            second.cancel()
            await Self.expectCancelled(second)
            first.cancel()
            await Self.expectCancelled(first)
            #expect(server.connections == 1)
            // The place is free again.
            let third = Task { try await transport.send(Base.get(server.url("/")), limits: Base.limits) }
            third.cancel()
            await Self.expectCancelled(third)
        }
    }

    @Test("cancelling ends a transfer that connects at once", arguments: ["http://10.255.255.1/"])
    func cancelConnecting(url: String) async throws {
        let transport = Base.transport()
        let connecting = Task { try await transport.send(Base.get(url), limits: Base.limits) }
        // Comes after it on the client's thread, so that one has begun when this is refused.
        _ = await Task { try await transport.send(Base.get(""), limits: Base.limits) }.result
        let start = ContinuousClock.now
        connecting.cancel()
        _ = await connecting.result
        #expect(.now - start < .seconds(2))
    }

    private static func expectCancelled(_ task: Task<HTTPResponse, any Error>) async {
        let error = await #expect(throws: HTTPTransportError.self) { try await task.value }
        #expect(error?.kind == .cancelled)
    }

    @Test("waiting for a turn counts against the whole time")
    func waitsTooLong() async throws {
        let busy = Gate()
        let server = try RawServer { connection in
            guard connection.readRequest() != nil else { return }
            busy.open()
            _ = connection.readRequest()
        }
        let transport = Base.transport(1)
        let holder = Task { try await transport.send(Base.get(server.url("/")), limits: Base.limits) }
        await busy.wait()
        let short = HTTPLimits(total: .milliseconds(300), silence: .seconds(5), bodyBytesMax: 10)
        let error = await #expect(throws: HTTPTransportError.self) {
            try await transport.send(Base.get(server.url("/")), limits: short)
        }
        #expect(error?.kind == .unreachable)
        holder.cancel()
        _ = await holder.result
    }

    @Test("a thousand at once are all answered, each with its own body, on shared connections")
    func thousand() async throws {
        let server = try RawServer { connection in
            while let request = connection.readRequest() {
                connection.answer(200, String(decoding: request.body, as: UTF8.self))
            }
        }
        let transport = Base.transport(100, shards: 2)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for index in 0..<1_000 {
                group.addTask {
                    let request = Base.post(server.url("/"), "\(index)")
                    let response = try await transport.send(request, limits: Base.limits)
                    return response.body == Array("\(index)".utf8)
                }
            }
            for try await isOwn in group { #expect(isOwn) }
        }
        #expect(server.connections <= 100)
    }

    @Test("thousands that wait for an answer do not slow the others, and all end when cancelled")
    func thousandsWaiting() async throws {
        // Both ends of each connection are this process's.
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limit)
        let count = min(4_000, (Int(limit.rlim_cur) - 1_000) / 2)
        let arrived = Atomic<Int>(0)
        let all = Gate()
        let server = try RawServer { connection in
            _ = connection.readRequest()
            if arrived.add(1, ordering: .relaxed).newValue == count { all.open() }
            _ = connection.readRequest()
        }
        let quick = try RawServer { connection in
            while connection.readRequest() != nil { connection.answer(200, "ok") }
        }
        let transport = Base.transport(count + 10, shards: 16)
        let limits = HTTPLimits(total: .seconds(120), silence: .seconds(100), bodyBytesMax: 100)
        let waiting = Task {
            await withTaskGroup(of: HTTPTransportError.Kind?.self) { group in
                for _ in 0..<count {
                    group.addTask {
                        do throws(HTTPTransportError) {
                            _ = try await transport.send(Base.get(server.url("/")), limits: limits)
                            return nil
                        } catch {
                            return error.kind
                        }
                    }
                }
                var cancelled = 0
                for await kind in group where kind == .cancelled { cancelled += 1 }
                return cancelled
            }
        }
        await all.wait()
        var latencies: [Duration] = []
        for _ in 0..<100 {
            let start = ContinuousClock.now
            _ = try await transport.send(Base.get(quick.url("/")), limits: limits)
            latencies.append(.now - start)
        }
        #expect(latencies.sorted()[50] < .milliseconds(50))
        waiting.cancel()
        #expect(await waiting.value == count)
    }

    @Test("no more than the limit goes at a time, nor to one host before it has connections")
    func admission() {
        var admission = Admission<Int>(transfersMax: 4, startingMax: 2)
        for item in 0..<4 { admission.add(item, to: "a") }
        for item in 4..<8 { admission.add(item, to: "b") }

        #expect([admission.next(), admission.next()] == [0, 1])
        // a waits for a connection; b passes it.
        #expect([admission.next(), admission.next(), admission.next()] == [4, 5, nil])
        admission.hasStarted(on: "a")
        #expect(admission.next() == nil)
        admission.hasEnded(on: "a", hadStarted: true)
        #expect([admission.next(), admission.next()] == [2, nil])
        admission.hasEnded(on: "b", hadStarted: false)
        #expect([admission.next(), admission.next()] == [6, nil])
        for _ in 0..<4 { admission.hasEnded(on: "b", hadStarted: false) }
        #expect(admission.next() != nil)
    }
}
