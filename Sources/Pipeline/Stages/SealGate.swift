import Synchronization

/// Bounds how many turns hold what they are about to write. A turn that waits for its model is small; one
/// with its slot made is several times that, and when thousands of models answer together the store cannot
/// take all at once.
final class SealGate: Sendable {
    private struct State {
        var free: Int
        /// Who waits, in the order they came, from `next` on.
        var waiting: [CheckedContinuation<Void, Never>] = []
        var next = 0
    }

    private let state: Mutex<State>

    var waitingCount: Int { state.withLock { $0.waiting.count - $0.next } }

    init(places: Int) {
        state = Mutex(State(free: places))
    }

    /// Returns when a place is the caller's; in the order of the calls. Does not end with the caller's task,
    /// which looks then whether it is still wanted.
    func enter() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.free == 0 else {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    func leave() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.next < state.waiting.count else {
                state.free += 1
                return nil
            }
            defer {
                state.next += 1
                // Half of it is of the past.
                if state.next * 2 > state.waiting.count {
                    state.waiting.removeFirst(state.next)
                    state.next = 0
                }
            }
            return state.waiting[state.next]
        }
        next?.resume()
    }
}
