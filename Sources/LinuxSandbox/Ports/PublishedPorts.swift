import Network
package import Pipeline

/// Listeners on the host that lead to ports of one run: each connection to one is passed to the command.
/// Touched on the loop's thread only, but for `close`.
package final class PublishedPorts: DoorOwner, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread; `close` goes there.
    // A loop lives as long as the process, so all runs share one.
    private static let loop = EventLoop(name: "sandbox-ports")
    /// Of all listeners together; more wait in the kernel's queues.
    private static let connectionsMax = 256
    /// What an ended command has said is still passed on so long.
    private static let drainTimeout: Duration = .seconds(2)

    private let control: SandboxControl
    private let patience: Duration
    private var doors: [(listener: DoorListener, port: UInt16)] = []
    private var relays: [ObjectIdentifier: PortRelay] = [:]
    /// Called when the last connection has ended, after `close`.
    private var closed: (@Sendable () -> Void)?

    /// Serves the listeners, which it closes in the end, from now on; `port` is the command's. The run may
    /// begin later. A connection waits as long as `patience` until something listens on its port, and is
    /// reset then.
    package init(
        _ listeners: [(descriptor: CInt, port: UInt16)],
        control: SandboxControl,
        patience: Duration
    ) {
        self.control = control
        self.patience = patience
        doors = listeners.map { (DoorListener($0.descriptor, loop: Self.loop, owner: self), $0.port) }
        Self.loop.execute { [self] in
            for door in doors { door.listener.start() }
        }
    }

    /// Once the run is over: ends the listeners at once, and the connections when what the command said
    /// has reached its clients, after 2 s at most.
    package func close() async {
        await withCheckedContinuation { continuation in
            Self.loop.execute { [self] in
                closed = { continuation.resume() }
                for door in doors { door.listener.close() }
                let due = ContinuousClock.now + Self.drainTimeout
                for relay in Array(relays.values) { relay.finish(by: due) }
                tellIfClosed()
            }
        }
    }

    var hasRoom: Bool { relays.count < Self.connectionsMax }

    func take(_ descriptor: CInt, from listener: DoorListener) {
        guard let port = doors.first(where: { $0.listener === listener })?.port else {
            preconditionFailure("a connection from a listener that is none of ours")
        }
        let relay = PortRelay(
            descriptor,
            to: port,
            within: patience,
            control: control,
            loop: Self.loop
        ) { [weak self] relay in self?.ended(relay) }
        relays[ObjectIdentifier(relay)] = relay
        relay.start()
    }

    private func ended(_ relay: PortRelay) {
        relays[ObjectIdentifier(relay)] = nil
        for door in doors { door.listener.resume() }
        tellIfClosed()
    }

    private func tellIfClosed() {
        guard relays.isEmpty, let closed else { return }
        self.closed = nil
        closed()
    }
}
