import Pipeline
import Synchronization
import Topics

/// How far a store's clock is ahead of ours, as far as it has complained: requests are signed with its time.
final class ClockSkew: Sendable {
    private let ahead = Mutex(Duration.zero)

    func now(_ time: TimeSource) -> Timestamp { time.now() + ahead.withLock { $0 } }

    /// Far enough from what we use already that setting it may help.
    func isNew(_ duration: Duration) -> Bool {
        let difference = duration - ahead.withLock { $0 }
        return difference > .seconds(5) || difference < .seconds(-5)
    }

    func set(_ duration: Duration) { ahead.withLock { $0 = duration } }
}
