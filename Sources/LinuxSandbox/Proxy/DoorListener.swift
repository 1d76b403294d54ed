import Glibc
import Network

/// Who takes what comes to a listener.
protocol DoorOwner: AnyObject {
    /// Another connection may be taken.
    var hasRoom: Bool { get }
    /// Takes the descriptor over.
    func take(_ descriptor: CInt, from listener: DoorListener)
}

/// A listening socket, looked away from while there is no room. Touched on the loop's thread only.
final class DoorListener: EventLoopHandler, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread.
    private let descriptor: CInt
    private let loop: EventLoop
    /// Holds it as long as the socket is open.
    private var owner: (any DoorOwner)?
    private var isPaused = false

    /// Takes the descriptor over.
    init(_ descriptor: CInt, loop: EventLoop, owner: any DoorOwner) {
        self.descriptor = descriptor
        self.loop = loop
        self.owner = owner
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    func start() {
        if !loop.add(descriptor, .readable, self) { isPaused = true }
    }

    func ready(_ readiness: Readiness) {
        for _ in 0..<16 {
            guard let owner, owner.hasRoom else { return pause() }
            guard let (connection, _) = Socket.accept(descriptor) else {
                // No descriptor left: look away, or the listener would wake us for ever.
                if errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM { pause() }
                return
            }
            owner.take(connection, from: self)
        }
    }

    func sweep(_ now: ContinuousClock.Instant) { resume() }

    /// To be called when there may be room again.
    func resume() {
        guard isPaused, owner?.hasRoom == true else { return }
        isPaused = false
        start()
    }

    func close() {
        guard owner != nil else { return }
        owner = nil
        loop.remove(descriptor)
        Glibc.close(descriptor)
    }

    private func pause() {
        guard !isPaused, owner != nil else { return }
        isPaused = true
        loop.pause(descriptor)
    }
}
