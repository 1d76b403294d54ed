import Glibc
import Network
import Pipeline
import Telemetry

/// One connection: reads requests, has them answered one at a time, writes the answers. Touched on the loop's
/// thread only.
final class HTTPConnection: EventLoopHandler, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread.
    private enum Phase {
        /// Waiting for a request, or for the rest of one.
        case reading
        /// The task is there when it may be cancelled.
        case handling(Task<Void, Never>?)
        /// A stream's body is being written by its task.
        case streaming(Task<Void, Never>)
        /// The last answer is on its way, or sent; what still comes is thrown away until the other side
        /// closes.
        case lingering
        case closed
    }

    private let descriptor: CInt
    private let peer: String
    private let loop: EventLoop
    private let settings: HTTPServerSettings
    private let handler: any HTTPHandler
    private let shared: HTTPServerState
    private let onClose: (HTTPConnection) -> Void
    private var parser: HTTPRequestParser
    private var phase = Phase.reading
    private var output: [UInt8] = []
    private var sent = 0
    private var interest: Readiness = [.readable, .halfClosed]
    private var inputEnded = false
    private var keepsAlive = true
    private var isHead = false
    private var isHTTP11 = true
    private var isDraining = false
    private var waitingSince = ContinuousClock.now
    private var requestSince: ContinuousClock.Instant?
    private var stalledSince: ContinuousClock.Instant?
    private var lingeringSince: ContinuousClock.Instant?
    /// Pipelined bytes beyond this wait in the kernel.
    private static let waitingBytesMax = 16 * 1_024
    static let unsentBytesMax = 1 << 20
    /// While more than this waits for the other side to read, it is asked for nothing more.
    private static let unreadBytesMax = 64 * 1_024

    init(
        descriptor: CInt,
        peer: String,
        loop: EventLoop,
        settings: HTTPServerSettings,
        handler: any HTTPHandler,
        shared: HTTPServerState,
        onClose: @escaping (HTTPConnection) -> Void
    ) {
        self.descriptor = descriptor
        self.peer = peer
        self.loop = loop
        self.settings = settings
        self.handler = handler
        self.shared = shared
        self.onClose = onClose
        parser = HTTPRequestParser(limits: settings.limits)
    }

    func start() {
        guard loop.add(descriptor, interest, self) else { return close() }
    }

    func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) { flush() }
        if !readiness.isDisjoint(with: [.readable, .halfClosed]) { read() }
        if !readiness.isDisjoint(with: .failed) { close() }
    }

    private func read() {
        guard !isClosed else { return }
        // One buffer's worth at a time: epoll tells again, and other connections have their turn in between.
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        if count < 0 {
            if errno != EAGAIN && errno != EINTR { close() }
            return
        }
        if count == 0 { return endInput() }
        guard case .lingering = phase else {
            parser.feed(bytes[..<count])
            return advance()
        }
    }

    /// The other side sends no more; what it asked for is still answered.
    private func endInput() {
        inputEnded = true
        switch phase {
        case .reading: advance()
        case .streaming(let task):
            task.cancel()
            close()
        case .lingering: close()
        case .handling: update()
        case .closed: break
        }
    }

    /// Takes the next request, when none is being answered.
    private func advance() {
        guard case .reading = phase, unsent <= Self.unreadBytesMax else { return update() }
        if requestSince == nil, parser.progress != .idle { requestSince = .now }
        do throws(HTTPRequestParser.Failure) {
            guard let parsed = try parser.next() else {
                if inputEnded { return startLingering() }
                if parser.takeWantsContinue() { write(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)) }
                return update()
            }
            requestSince = parser.waitingBytes > 0 ? .now : nil
            handle(parsed)
        } catch {
            shared.malformed.increment()
            phase = .handling(nil)
            keepsAlive = false
            isHead = false
            answer(
                .whole(
                    HTTPResponse(
                        status: error.status,
                        fields: ["Content-Type": "text/plain"],
                        body: Array("\(error.reason)\n".utf8)
                    )
                )
            )
        }
    }

    private func handle(_ parsed: HTTPRequestParser.Parsed) {
        phase = .handling(nil)
        keepsAlive = parsed.keepsAlive && !isDraining
        isHTTP11 = parsed.isHTTP11
        isHead = parsed.request.method == "HEAD"
        update()
        let (handler, peer, loop) = (handler, peer, loop)
        let isCancellable = handler.isCancellable(parsed.request)
        let task = Task.immediateDetached(executorPreference: loop) {
            let answer = await handler.handle(parsed.request, from: peer)
            // The handler may have gone through other executors; answers are given on the loop's thread.
            loop.execute { self.answer(answer) }
        }
        if isCancellable { phase = .handling(task) }
    }

    private func answer(_ answer: HTTPAnswer) {
        guard !isClosed else { return }
        switch answer {
        case .whole(let response):
            shared.answered(response.status)
            write(HTTPResponseBytes.whole(response, isHead: isHead, keepsAlive: keepsAlive))
            finishAnswer()
        case .stream(let status, let fields, let body):
            shared.answered(status)
            guard !isHead else {
                write(
                    HTTPResponseBytes.head(
                        status,
                        fields,
                        length: nil,
                        keepsAlive: keepsAlive,
                        isChunked: false
                    )
                )
                return finishAnswer()
            }
            // An old client knows no chunks: the end of the connection is the end of the body.
            keepsAlive = keepsAlive && isHTTP11
            write(
                HTTPResponseBytes.head(
                    status,
                    fields,
                    length: nil,
                    keepsAlive: keepsAlive,
                    isChunked: isHTTP11
                )
            )
            guard !isClosed else { return }
            let writer = HTTPBodyWriter(connection: self, loop: loop)
            let task = Task.immediateDetached(executorPreference: loop) { [loop] in
                // It starts at once, on this thread: what it writes must find the phase below already set.
                await Task.yield()
                await body(writer)
                loop.execute { self.endStream() }
            }
            phase = .streaming(task)
            update()
        }
    }

    /// Called by `HTTPBodyWriter`. False when the connection is gone, or too far behind and closed for it.
    func writeChunk(_ bytes: [UInt8]) -> Bool {
        guard case .streaming = phase else { return false }
        guard !bytes.isEmpty else { return true }
        write(isHTTP11 ? Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes + [0x0D, 0x0A] : bytes)
        if unsent > Self.unsentBytesMax { close() }
        return !isClosed
    }

    private func endStream() {
        guard case .streaming = phase else { return }
        if isHTTP11 { write(Array("0\r\n\r\n".utf8)) }
        finishAnswer()
    }

    private func finishAnswer() {
        guard !isClosed else { return }
        waitingSince = .now
        guard keepsAlive else { return startLingering() }
        phase = .reading
        advance()
    }

    /// Closing at once would reset the connection and may eat the answer on its way.
    private func startLingering() {
        if inputEnded, unsent == 0 { return close() }
        phase = .lingering
        lingeringSince = .now
        if unsent == 0 { shutdown(descriptor, CInt(SHUT_WR)) }
        update()
    }

    func drain() {
        isDraining = true
        switch phase {
        case .reading where parser.progress == .idle: startLingering()
        case .reading: keepsAlive = false
        case .handling(let task):
            keepsAlive = false
            task?.cancel()
        case .streaming(let task):
            keepsAlive = false
            task.cancel()
        case .lingering, .closed: break
        }
    }

    func sweep(_ now: ContinuousClock.Instant) {
        if let stalledSince, now - stalledSince > settings.stalledWriteTimeout { return close() }
        switch phase {
        case .reading:
            if let requestSince {
                let isHead = parser.progress == .head
                guard now - requestSince > (isHead ? settings.headTimeout : settings.bodyTimeout) else {
                    return
                }
                keepsAlive = false
                answer(.whole(HTTPResponse(status: 408)))
            } else if unsent == 0, now - waitingSince > settings.idleTimeout {
                close()
            }
        case .lingering:
            if let lingeringSince, now - lingeringSince > .seconds(2), unsent == 0 { close() }
        case .handling, .streaming, .closed: break
        }
    }

    private var isClosed: Bool {
        if case .closed = phase { true } else { false }
    }
}

// Bytes out.
extension HTTPConnection {
    private var unsent: Int { output.count - sent }

    private func write(_ bytes: [UInt8]) {
        guard !isClosed else { return }
        let wasEmpty = unsent == 0
        if sent > Self.unreadBytesMax {
            output.removeFirst(sent)
            sent = 0
        }
        output.append(contentsOf: bytes)
        if wasEmpty { flush() }
    }

    private func flush() {
        while unsent > 0 {
            let count = output.withUnsafeBytes { buffer in
                Glibc.send(descriptor, buffer.baseAddress?.advanced(by: sent), unsent, CInt(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                guard errno == EAGAIN else { return close() }
                if stalledSince == nil { stalledSince = .now }
                return update()
            }
            sent += count
            stalledSince = nil
        }
        output.removeAll(keepingCapacity: output.count < 65_536)
        sent = 0
        if case .lingering = phase {
            shutdown(descriptor, CInt(SHUT_WR))
            if inputEnded { return close() }
        }
        update()
        // What was held back because too much was unread may go on.
        if case .reading = phase, parser.waitingBytes > 0 { loop.execute { self.advance() } }
    }

    /// Tells the kernel what to wake us for, when that has changed.
    private func update() {
        guard !isClosed else { return }
        var wanted: Readiness = []
        let isFull = parser.waitingBytes > Self.waitingBytesMax
        let isBusy =
            if case .reading = phase { false } else if case .lingering = phase { false } else { true }
        let isBehind = !isBusy && unsent > Self.unreadBytesMax
        if !inputEnded, !(isBusy && isFull), !isBehind { wanted.formUnion([.readable, .halfClosed]) }
        if unsent > 0 { wanted.insert(.writable) }
        guard wanted != interest else { return }
        interest = wanted
        loop.change(descriptor, wanted)
    }

    private func close() {
        guard !isClosed else { return }
        if case .streaming(let task) = phase { task.cancel() }
        if case .handling(let task) = phase { task?.cancel() }
        phase = .closed
        loop.remove(descriptor)
        Glibc.close(descriptor)
        onClose(self)
    }
}
