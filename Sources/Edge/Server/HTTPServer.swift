import Glibc
package import Network
package import Pipeline
import Synchronization
import Telemetry

package struct HTTPServerSettings: Sendable, Hashable {
    package var host: String
    /// 0 for any free port.
    package var port: UInt16
    package var limits: HTTPRequestParser.Limits
    /// Counted from the head's first byte.
    package var headTimeout: Duration
    package var bodyTimeout: Duration
    package var idleTimeout: Duration
    /// How long an answer may wait for the other side to read.
    package var stalledWriteTimeout: Duration
    package var connectionsMax: Int
    package var loops: Int

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
        limits = HTTPRequestParser.Limits(headBytesMax: 16 * 1_024, bodyBytesMax: 4 << 20, fieldsMax: 100)
        headTimeout = .seconds(10)
        bodyTimeout = .seconds(30)
        idleTimeout = .seconds(75)
        stalledWriteTimeout = .seconds(30)
        connectionsMax = 20_000
        loops = max(sysconf(CInt(_SC_NPROCESSORS_ONLN)), 1)
    }
}

package protocol HTTPHandler: Sendable {
    /// Answers one request. Runs on a loop's thread: what blocks or computes long must leave it.
    ///
    /// Not cancelled when the other side goes away: an event that was accepted is handled to its end.
    func handle(_ request: HTTPRequest, from peer: String) async -> HTTPAnswer

    /// Whether the request only waits (a long poll), so that its task is cancelled when the other side goes
    /// away or the server drains; it answers then all the same.
    func isCancellable(_ request: HTTPRequest) -> Bool
}

extension HTTPHandler {
    package func isCancellable(_ request: HTTPRequest) -> Bool { false }
}

package enum HTTPAnswer: Sendable {
    case whole(HTTPResponse)
    /// A body of unknown length. The task that runs `body` is cancelled when the other side goes away.
    case stream(status: Int, fields: HTTPFields, body: @Sendable (HTTPBodyWriter) async -> Void)
}

/// Serves HTTP/1.1 on its own threads. TLS and HTTP/2 are a proxy's in front (Decisions/0001).
package final class HTTPServer: Sendable {
    private let settings: HTTPServerSettings
    private let handler: any HTTPHandler
    private let loops: [EventLoop]
    private let acceptors = Mutex<[HTTPAcceptor]>([])
    private let shared = HTTPServerState()

    package init(settings: HTTPServerSettings, handler: any HTTPHandler) {
        self.settings = settings
        self.handler = handler
        loops = (0..<max(settings.loops, 1)).map { EventLoop(name: "http-\($0)") }
        // A write to a connection that the other side has closed is an error to us, not the process's end.
        signal(SIGPIPE, SIG_IGN)
    }

    /// Starts to listen and returns the port.
    package func start() throws(SocketError) -> UInt16 {
        let (listener, port) = try Socket.listen(host: settings.host, port: settings.port)
        // The log, the store and the sandboxes need descriptors too.
        var settings = settings
        settings.connectionsMax = min(settings.connectionsMax, DescriptorLimit.raise() / 2)
        shared.listening.add(loops.count, ordering: .relaxed)
        for loop in loops {
            let acceptor = HTTPAcceptor(
                listener: listener,
                loop: loop,
                settings: settings,
                handler: handler,
                shared: shared
            )
            acceptors.withLock { $0.append(acceptor) }
            loop.execute { acceptor.start() }
        }
        return port
    }

    /// Takes no new connection, lets requests under way be answered, and closes; returns when all is closed,
    /// or after the duration.
    package func drain(within duration: Duration) async {
        for (loop, acceptor) in zip(loops, acceptors.withLock { $0 }) { loop.execute { acceptor.drain() } }
        let end = ContinuousClock.now + duration
        while shared.open.load(ordering: .relaxed) > 0, ContinuousClock.now < end {
            // Polled: draining is rare, and a time limit is needed in any case.
            guard (try? await Task.sleep(for: .milliseconds(20))) != nil else { return }
        }
    }
}

/// What the loops of a server count together.
final class HTTPServerState: Sendable {
    let open = Atomic<Int>(0)
    /// Loops that still accept; the last one closes the socket.
    let listening = Atomic<Int>(0)
    let connections = Gauge("penstock_http_connections", help: "Open connections.")
    let refused = Counter(
        "penstock_http_refused_total",
        help: "Connections closed because there were too many."
    )
    let malformed = Counter(
        "penstock_http_malformed_total",
        help: "Requests that are not HTTP as we speak it."
    )

    func answered(_ status: Int) {
        Counter(
            "penstock_http_responses_total",
            help: "Answers by class of status.",
            labels: ["class": "\(status / 100)xx"]
        ).increment()
    }
}

/// Accepts connections on one loop. Touched on the loop's thread only.
final class HTTPAcceptor: EventLoopHandler, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread.
    private let listener: CInt
    private let loop: EventLoop
    private let settings: HTTPServerSettings
    private let handler: any HTTPHandler
    private let shared: HTTPServerState
    private var connections: [ObjectIdentifier: HTTPConnection] = [:]
    private var isPaused = false
    private var isDraining = false

    init(
        listener: CInt,
        loop: EventLoop,
        settings: HTTPServerSettings,
        handler: any HTTPHandler,
        shared: HTTPServerState
    ) {
        self.listener = listener
        self.loop = loop
        self.settings = settings
        self.handler = handler
        self.shared = shared
    }

    func start() {
        _ = loop.add(listener, [.readable, .exclusive], self)
    }

    func ready(_ readiness: Readiness) {
        // A limited number at a time, so that a storm of connections does not keep the others waiting.
        for _ in 0..<64 {
            guard let (descriptor, peer) = Socket.accept(listener) else {
                // No descriptor left: look away, or the listener would wake us for ever; `sweep` looks back.
                if errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM { pause() }
                return
            }
            guard shared.open.load(ordering: .relaxed) < settings.connectionsMax else {
                shared.refused.increment()
                close(descriptor)
                continue
            }
            open(descriptor, peer)
        }
    }

    private func open(_ descriptor: CInt, _ peer: String) {
        let connection = HTTPConnection(
            descriptor: descriptor,
            peer: peer,
            loop: loop,
            settings: settings,
            handler: handler,
            shared: shared
        ) { [weak self] connection in
            self?.connections[ObjectIdentifier(connection)] = nil
            self?.shared.connections.add(-1)
            self?.shared.open.subtract(1, ordering: .relaxed)
        }
        connections[ObjectIdentifier(connection)] = connection
        shared.connections.add(1)
        shared.open.add(1, ordering: .relaxed)
        connection.start()
    }

    func sweep(_ now: ContinuousClock.Instant) {
        guard isPaused, !isDraining else { return }
        isPaused = false
        start()
    }

    private func pause() {
        guard !isPaused else { return }
        isPaused = true
        loop.pause(listener)
    }

    func drain() {
        guard !isDraining else { return }
        isDraining = true
        loop.remove(listener)
        // Those who connect now are refused by the kernel, not left hanging.
        if shared.listening.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { close(listener) }
        for connection in connections.values { connection.drain() }
    }
}
