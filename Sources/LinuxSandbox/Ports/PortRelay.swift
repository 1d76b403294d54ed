import Network
import Pipeline
import Telemetry

/// One connection to a published port: dials the command's, then passes bytes and ends both ways. Touched on
/// the loop's thread only.
final class PortRelay: ProxySideOwner, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread; what a dial answers goes there.
    private enum State {
        case dialing
        /// There was no room for a dial: it is tried again.
        case waiting
        case relaying
        case closed
    }

    private let port: UInt16
    private let control: SandboxControl
    private let loop: EventLoop
    private let ended: (PortRelay) -> Void
    /// Of the dial: until something listens on the port.
    private let due: ContinuousClock.Instant
    private var state = State.dialing
    private var client: ProxySide?
    private var inner: ProxySide?
    /// The command has ended: its end is the connection's, at the latest then.
    private var finishBy: ContinuousClock.Instant?

    /// Takes the client's descriptor over; `ended` is called once.
    init(
        _ descriptor: CInt,
        to port: UInt16,
        within patience: Duration,
        control: SandboxControl,
        loop: EventLoop,
        ended: @escaping (PortRelay) -> Void
    ) {
        self.port = port
        due = .now + patience
        self.control = control
        self.loop = loop
        self.ended = ended
        client = ProxySide(descriptor, loop: loop, connection: self)
        Socket.sendAtOnce(descriptor)
    }

    func start() {
        // Nothing is read before there is a place for it, but time-outs are looked at.
        guard client?.watch(input: false, output: false) == true else { return end(aborting: true) }
        dial()
    }

    func finish(by due: ContinuousClock.Instant) {
        guard case .relaying = state else { return end(aborting: true) }
        finishBy = due
        advance()
    }

    func advance() {
        guard case .relaying = state, let client, let inner else { return }
        guard pass(client, to: inner), pass(inner, to: client) else { return fail() }
        if client.isShut, inner.isShut || finishBy != nil { return end(aborting: false) }
        let isWatched =
            client.watch(input: !client.hasEnded && inner.hasRoom, output: client.pending > 0)
            && inner.watch(input: !inner.hasEnded && client.hasRoom, output: inner.pending > 0)
        if !isWatched { end(aborting: true) }
    }

    func sweep(_ now: ContinuousClock.Instant, _ side: ProxySide) {
        guard side === client else { return }
        if case .waiting = state { dial() }
        if let finishBy, now >= finishBy { end(aborting: true) }
    }

    private func dial() {
        state = .dialing
        let patience = max(.zero, due - .now)
        control.dial(
            PortDial(port: port, patience: patience) { [self] answer in
                loop.execute { self.hear(answer) }
            }
        )
    }

    private func hear(_ answer: Result<PortConnection, SandboxError>) {
        guard case .dialing = state else { return }
        switch answer {
        case .success(let connection): begin(connection)
        // The run has not begun and many wait for it, or descriptors are short.
        case .failure(let error) where error.kind == .busy && .now < due: state = .waiting
        case .failure(let error):
            Self.logger.info(
                "Connection to a published port refused",
                metadata: ["port": "\(port)", LogKeys.reason: error.detail]
            )
            end(aborting: true)
        }
    }

    private func begin(_ connection: PortConnection) {
        let descriptor = connection.take()
        Socket.sendAtOnce(descriptor)
        inner = ProxySide(descriptor, loop: loop, connection: self)
        state = .relaying
        advance()
    }

    /// False when one of them is broken.
    private func pass(_ source: ProxySide, to target: ProxySide) -> Bool {
        if target.hasRoom {
            switch source.read() {
            case .bytes(let bytes): target.queue(bytes)
            case .nothing, .end: break
            case .failed: return false
            }
        }
        guard target.flush() else { return false }
        if source.hasEnded { target.endWriting() }
        return true
    }

    /// One side is broken. What each said before is passed on as far as the other takes it: an answer may
    /// well come before all of a request was read.
    private func fail() {
        guard let client, let inner else { return }
        for (source, target) in [(client, inner), (inner, client)] {
            while target.flush(), target.hasRoom, case .bytes(let bytes) = source.read() {
                target.queue(bytes)
            }
        }
        end(aborting: true)
    }

    private func end(aborting: Bool) {
        if case .closed = state { return }
        state = .closed
        client?.close(aborting: aborting)
        inner?.close(aborting: aborting)
        (client, inner) = (nil, nil)
        ended(self)
    }

    private static let logger = Logger(label: "sandbox.ports")
}
