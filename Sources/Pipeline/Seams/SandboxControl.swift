import Synchronization

/// The way to a command while it runs: whoever starts a run keeps one, and hands it over with the run.
package final class SandboxControl: Sendable {
    package enum Message: Sendable {
        case signal(Int32)
        case dial(PortDial)

        /// Signals and dials do not take each other's places.
        fileprivate func isAlike(_ other: Message) -> Bool {
            switch (self, other) {
            case (.signal, .signal), (.dial, .dial): true
            case (.signal, _), (.dial, _): false
            }
        }
    }

    private enum State {
        case early([Message])
        case attached(@Sendable (Message) -> Void)
        case ended
    }

    private let state = Mutex(State.early([]))
    private static let earlyMax = 16

    package init() {}

    /// Sends the signal to the command and what it started in its process group: HUP, INT, QUIT, USR1, USR2,
    /// TERM, CONT, WINCH, or KILL, which ends the whole tree. One that comes before the command has started
    /// waits for it; one that comes after its end is lost.
    package func signal(_ number: Int32) { _ = pass(.signal(number)) }

    /// Connects to a port that the run was granted, once the command listens there; waits for that, and for
    /// the command's start, as long as `patience`. Throws `.invalid` when the port was not granted, nothing
    /// listens there in time, or the run has ended.
    package func connect(
        to port: UInt16,
        patience: Duration
    ) async throws(SandboxError) -> PortConnection {
        let result = await withCheckedContinuation { continuation in
            dial(PortDial(port: port, patience: patience) { continuation.resume(returning: $0) })
        }
        return try result.get()
    }

    /// As `connect`, for who must not wait: the answer comes on any thread, perhaps before this returns.
    package func dial(_ dial: PortDial) {
        if let error = pass(.dial(dial)) { dial.answer(.failure(error)) }
    }

    /// Nil when it is on its way.
    private func pass(_ message: Message) -> SandboxError? {
        typealias Passing = (deliver: (@Sendable (Message) -> Void)?, error: SandboxError?)
        let (deliver, error) = state.withLock { state -> Passing in
            switch state {
            case .early(let early) where early.count(where: message.isAlike) >= Self.earlyMax:
                return (nil, SandboxError(.busy, "\(Self.earlyMax) messages wait for the run to start"))
            case .early(let early):
                state = .early(early + [message])
                return (nil, nil)
            case .attached(let deliver): return (deliver, nil)
            case .ended: return (nil, Self.ended)
            }
        }
        deliver?(message)
        return error
    }

    /// For sandboxes: where messages go from now on.
    package func attach(_ deliver: @escaping @Sendable (Message) -> Void) {
        let early = state.withLock { state -> [Message] in
            guard case .early(let early) = state else { return [] }
            state = .attached(deliver)
            return early
        }
        for message in early { deliver(message) }
    }

    /// For sandboxes, when the run is over or was never begun: who waits for it is told.
    package func end() {
        let early = state.withLock { state -> [Message] in
            defer { state = .ended }
            guard case .early(let early) = state else { return [] }
            return early
        }
        for case .dial(let dial) in early { dial.answer(.failure(Self.ended)) }
    }

    private static let ended = SandboxError(.invalid, "the process has ended: nothing can be connected to")
}
