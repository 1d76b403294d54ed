import Synchronization

/// The way to a command while it runs: whoever starts a run keeps one, and hands it over with the run.
package final class SandboxControl: Sendable {
    private struct State {
        var deliver: (@Sendable (Int32) -> Void)?
        var early: [Int32] = []
    }

    private let state = Mutex(State())
    private static let earlyMax = 16

    package init() {}

    /// Sends the signal to the command and what it started in its process group: HUP, INT, QUIT, USR1, USR2,
    /// TERM, CONT, WINCH, or KILL, which ends the whole tree. One that comes before the command has started
    /// waits for it; one that comes after its end is lost.
    package func signal(_ number: Int32) {
        let deliver = state.withLock { state -> (@Sendable (Int32) -> Void)? in
            if state.deliver == nil, state.early.count < Self.earlyMax { state.early.append(number) }
            return state.deliver
        }
        deliver?(number)
    }

    /// For sandboxes: where signals go from now on.
    package func attach(_ deliver: @escaping @Sendable (Int32) -> Void) {
        let early = state.withLock { state in
            state.deliver = deliver
            defer { state.early = [] }
            return state.early
        }
        for number in early { deliver(number) }
    }
}
