import Synchronization

/// Wakes one task, however often it was raised meanwhile.
package final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let hasBeat = Mutex(false)

    package init() {
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    package func raise() {
        continuation.yield()
    }

    /// Raises it for the sake of a sign of life, which the waiting task takes by `takeBeat`.
    package func beat() {
        hasBeat.withLock { $0 = true }
        raise()
    }

    package func takeBeat() -> Bool {
        hasBeat.withLock { beat in
            defer { beat = false }
            return beat
        }
    }

    /// Ends the waiting task's loop, after what was raised before.
    package func finish() {
        continuation.finish()
    }

    /// For one task only. Ends when the task is cancelled or the signal is finished.
    package var raised: AsyncStream<Void> { stream }
}
