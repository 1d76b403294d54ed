import Glibc
import Synchronization

/// A TCP connection to a process in a sandbox, non-blocking; closed with its last reference.
package final class PortConnection: Sendable {
    package let descriptor: Int32
    private let isTaken = Atomic(false)

    /// Takes the descriptor over.
    package init(taking descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// The descriptor, which is the caller's to close from now on.
    package func take() -> Int32 {
        isTaken.store(true, ordering: .releasing)
        return descriptor
    }

    deinit {
        if !isTaken.load(ordering: .acquiring) { close(descriptor) }
    }
}

/// Somebody waits for a connection to a port of a run.
package struct PortDial: Sendable {
    package let port: UInt16
    /// How long to wait until something listens there.
    package let patience: Duration
    /// Called once.
    package let answer: @Sendable (Result<PortConnection, SandboxError>) -> Void

    package init(
        port: UInt16,
        patience: Duration,
        answer: @escaping @Sendable (Result<PortConnection, SandboxError>) -> Void
    ) {
        self.port = port
        self.patience = patience
        self.answer = answer
    }
}
