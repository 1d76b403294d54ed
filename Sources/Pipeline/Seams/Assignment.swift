import Synchronization

/// One stay of a partition with this member, from assign to revoke or loss.
///
/// The same partition assigned again is another assignment: results finished under an earlier one must not be
/// committed, because somebody else may have done the same work in between.
package final class Assignment: Sendable {
    package let partition: TopicPartition
    /// Offsets below it may have been delivered to somebody before; from it on, records are surely new.
    package let freshFrom: Int64
    private let state: Mutex<State>
    private let faults: FaultPoints

    private struct State {
        var progress: Progress
        var isAlive = true
    }

    package init(
        partition: TopicPartition,
        progress: Progress,
        freshFrom: Int64,
        faults: FaultPoints = .none
    ) {
        self.partition = partition
        self.freshFrom = freshFrom
        self.faults = faults
        state = Mutex(State(progress: progress))
    }

    /// Whether both are one stay; the same partition is not enough.
    package func isSame(as other: Assignment?) -> Bool {
        self === other || faults.breaks(.noEpoch) && partition == other?.partition
    }

    /// False for ever once the partition was revoked or lost; nothing of it can be committed then.
    package var isAlive: Bool { state.withLock { $0.isAlive } }

    package var progress: Progress { state.withLock { $0.progress } }

    package func isDone(_ offset: Int64) -> Bool {
        state.withLock { $0.progress.isDone(offset) }
    }

    /// For the log engine only.
    package func end() {
        guard !faults.breaks(.noEpoch) else { return }
        state.withLock { $0.isAlive = false }
    }

    /// For the log engine only, after a commit.
    package func advance(to progress: Progress) {
        state.withLock { $0.progress = progress }
    }
}
