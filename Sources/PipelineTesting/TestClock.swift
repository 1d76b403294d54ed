package import Pipeline
import Synchronization
package import Topics

/// Time that stands still until a test moves it.
package final class TestClock: Sendable {
    private struct State {
        var now = Timestamp(milliseconds: 1_790_000_000_000)
        var sleepers: [(id: UInt64, until: Timestamp, continuation: CheckedContinuation<Bool, Never>)] = []
        var nextID: UInt64 = 0
        var cancelled: Set<UInt64> = []
        /// Every sleep is over at once, and the time moves on by it.
        var isHasty = false
    }

    private let state = Mutex(State())

    package init() {}

    /// A clock on which nobody waits: each sleep of up to a minute moves the time on by its length. Longer
    /// ones are deadlines, and never come.
    package static func hasty() -> TestClock {
        let clock = TestClock()
        clock.state.withLock { $0.isHasty = true }
        return clock
    }

    package var now: Timestamp { state.withLock { $0.now } }

    package var source: TimeSource {
        TimeSource(now: { self.now }, sleep: { try await self.sleep($0) })
    }

    package func advance(by duration: Duration) {
        let due = state.withLock { state in
            state.now = state.now + duration
            let now = state.now
            let due = state.sleepers.filter { $0.until <= now }
            state.sleepers.removeAll { $0.until <= now }
            return due
        }
        for sleeper in due { sleeper.continuation.resume(returning: true) }
    }

    private func sleep(_ duration: Duration) async throws {
        try Task.checkCancellation()
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let isSkipped = state.withLock { state in
            guard state.isHasty, duration <= .seconds(60) else { return false }
            state.now = state.now + duration
            return true
        }
        if isSkipped { return await Task.yield() }
        let isOver = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isCancelled = state.withLock { state in
                    if state.cancelled.remove(id) != nil { return true }
                    state.sleepers.append((id, state.now + duration, continuation))
                    return false
                }
                if isCancelled { continuation.resume(returning: false) }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                guard let index = state.sleepers.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return nil as CheckedContinuation<Bool, Never>?
                }
                return state.sleepers.remove(at: index).continuation
            }
            sleeper?.resume(returning: false)
        }
        guard isOver else { throw CancellationError() }
    }
}
