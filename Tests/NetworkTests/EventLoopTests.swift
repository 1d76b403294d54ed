import Foundation
import Glibc
import Network
import Synchronization
import Testing

@Suite("Event loop")
struct EventLoopTests {
    /// A loop lives as long as the process: one serves all tests.
    private static let loop = EventLoop(name: "test-loop")

    @Test("what is handed over runs on the loop's thread, in order, from many threads")
    func order() async {
        let loop = Self.loop
        let seen = Seen()
        await withTaskGroup { group in
            for sender in 0..<8 {
                group.addTask {
                    for number in 0..<2_000 {
                        loop.execute {
                            seen.add(number, of: sender, isStranger: !loop.isCurrent)
                        }
                    }
                }
            }
        }
        await withCheckedContinuation { done in loop.execute { done.resume() } }

        #expect(seen.strangers == 0)
        #expect(seen.numbers == Array(repeating: Array(0..<2_000), count: 8))
    }

    @Test("a task that prefers the loop runs there, also after it has waited elsewhere")
    func executor() async {
        let loop = Self.loop
        let places = await withTaskGroup(of: [Bool].self) { group in
            group.addTask(executorPreference: loop) {
                let before = loop.isCurrent
                await withCheckedContinuation { continuation in
                    Thread.detachNewThread { continuation.resume() }
                }
                return [before, loop.isCurrent]
            }
            return await group.reduce(into: []) { $0 += $1 }
        }

        #expect(places == [true, true])
    }

    @Test("a descriptor's handler hears of it until it is removed, and nothing of its number's next owner")
    func generations() async throws {
        let loop = Self.loop
        let first = Recorder(), second = Recorder()
        let ends = try Pipe()
        await on(loop) { #expect(loop.add(ends.reader, .readable, first)) }
        ends.send()
        await first.heard(1)
        // Removed with an event on its way, and the number used again at once.
        await on(loop) {
            ends.send()
            loop.remove(ends.reader)
            #expect(loop.add(ends.reader, .readable, second))
        }
        await second.heard(1)
        let after = first.count
        ends.send()
        await second.heard(2)
        await on(loop) { loop.remove(ends.reader) }

        #expect(first.count == after)
    }

    @Test("a listener on any free port says which, and names who comes")
    func listener() async throws {
        let (listener, port) = try Socket.listen(host: "127.0.0.1", port: 0)
        defer { close(listener) }
        #expect(port > 0)
        #expect(Socket.accept(listener) == nil)
        let caught = #expect(throws: SocketError.self) { try Socket.listen(host: "127.0.0.1", port: port) }
        #expect(caught?.detail.contains("\(port)") == true)
        let client = try Self.connect(port)
        defer { close(client) }
        var waiting = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        poll(&waiting, 1, 10_000)
        let accepted = try #require(Socket.accept(listener))
        defer { close(accepted.descriptor) }

        #expect(accepted.peer == "127.0.0.1")
        #expect(fcntl(accepted.descriptor, F_GETFL) & O_NONBLOCK != 0)
        #expect(fcntl(accepted.descriptor, F_GETFD) & FD_CLOEXEC != 0)
    }

    private func on(_ loop: EventLoop, _ body: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { done in
            loop.execute {
                body()
                done.resume()
            }
        }
    }

    private static func connect(_ port: UInt16) throws -> CInt {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
        return descriptor
    }
}

private final class Seen: Sendable {
    private let state = Mutex((numbers: [[Int]](repeating: [], count: 8), strangers: 0))

    var numbers: [[Int]] { state.withLock { $0.numbers } }
    var strangers: Int { state.withLock { $0.strangers } }

    func add(_ number: Int, of sender: Int, isStranger: Bool) {
        state.withLock { state in
            state.numbers[sender].append(number)
            if isStranger { state.strangers += 1 }
        }
    }
}

/// Counts how often its descriptor was ready, and empties it.
private final class Recorder: EventLoopHandler, Sendable {
    private let state = Mutex<(count: Int, waiting: [(Int, CheckedContinuation<Void, Never>)])>((0, []))

    var count: Int { state.withLock { $0.count } }

    func heard(_ wanted: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.count < wanted { state.waiting.append((wanted, continuation)) }
                return state.count >= wanted
            }
            if isThere { continuation.resume() }
        }
    }

    func ready(_ readiness: Readiness) {
        let due = state.withLock { state in
            state.count += 1
            let count = state.count
            defer { state.waiting.removeAll { $0.0 <= count } }
            return state.waiting.filter { $0.0 <= count }
        }
        if let pipe = Pipe.open.withLock({ $0 }) {
            var byte: UInt8 = 0
            _ = read(pipe, &byte, 1)
        }
        for (_, continuation) in due { continuation.resume() }
    }

    func sweep(_ now: ContinuousClock.Instant) {}
}

private final class Pipe: Sendable {
    /// The reading end of the one pipe that is open.
    static let open = Mutex<CInt?>(nil)
    let reader: CInt
    private let writer: CInt

    init() throws {
        var ends: [CInt] = [0, 0]
        try #require(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        reader = ends[0]
        writer = ends[1]
        let number = reader
        Self.open.withLock { $0 = number }
    }

    deinit {
        Self.open.withLock { $0 = nil }
        close(reader)
        close(writer)
    }

    func send() { _ = write(writer, "x", 1) }
}
