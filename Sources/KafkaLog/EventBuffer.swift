import Pipeline
import Synchronization

/// From a consumer's thread to the one task that calls `next`.
final class EventBuffer: Sendable {
    private struct State {
        var events: [ConsumerEvent] = []
        var records = 0
        var error: EventLogError?
        /// Stays until something works again.
        var trouble: EventLogError?
        var hasLeft = false
        var waiter: CheckedContinuation<Void, Never>?
        var isCancelled = false
    }

    /// More than so many records waiting to be taken, and the thread takes no more from librdkafka.
    private static let recordsMax = 5_000

    private let state = Mutex(State())

    var isFull: Bool { state.withLock { $0.records >= Self.recordsMax } }

    func push(_ event: ConsumerEvent) {
        change { state in
            state.events.append(event)
            if case .records(_, let records) = event { state.records += records.count }
        }
    }

    /// Thrown by the next call, once.
    func fail(_ error: EventLogError) { change { $0.error = error } }

    /// Thrown by every call that has nothing to give; nil when it is over.
    func setTrouble(_ error: EventLogError?) { change { $0.trouble = error } }

    func leave() { change { $0.hasLeft = true } }

    private func change(_ body: (inout State) -> Void) {
        let waiter = state.withLock { state in
            body(&state)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    func next() async throws(EventLogError) -> ConsumerEvent {
        while true {
            let event = try state.withLock { state throws(EventLogError) -> ConsumerEvent? in
                if state.hasLeft { return .left }
                if !state.events.isEmpty {
                    let event = state.events.removeFirst()
                    if case .records(_, let records) = event { state.records -= records.count }
                    return event
                }
                if let error = state.error {
                    state.error = nil
                    throw error
                }
                if let trouble = state.trouble { throw trouble }
                return nil
            }
            if let event { return event }
            guard !Task.isCancelled else { throw EventLogError(.closed, "cancelled") }
            await wait()
        }
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    let isReady =
                        !state.events.isEmpty || state.hasLeft || state.error != nil || state.trouble != nil
                        || state.isCancelled
                    state.isCancelled = false
                    if !isReady { state.waiter = continuation }
                    return isReady
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.isCancelled = state.waiter == nil
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
        state.withLock { $0.isCancelled = false }
    }
}
