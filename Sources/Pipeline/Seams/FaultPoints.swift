/// Where a test may end, stop or hold the process, and which rule of the protocol it may break.
///
/// A seam for tests of whole processes: `PenstockTool` arms it from its environment. Only builds with the
/// compilation condition `FAULT_POINTS` (debug builds, see `Package.swift`) have anything behind it; in
/// others every call is empty and no name of a point is in the program.
package struct FaultPoints: Sendable {
    #if FAULT_POINTS
        private let reached: @Sendable (FaultPoint) async -> Void
        private let struck: @Sendable (FaultPoint) -> Void
        private let broken: Set<Breakage>

        /// `reached` may wait; `struck` is called on threads that must not wait for a task.
        package init(
            broken: Set<Breakage>,
            reached: @escaping @Sendable (FaultPoint) async -> Void,
            struck: @escaping @Sendable (FaultPoint) -> Void
        ) {
            self.broken = broken
            self.reached = reached
            self.struck = struck
        }

        package static let none = FaultPoints(broken: [], reached: { _ in }, struck: { _ in })

        /// The process is at this point now.
        package func reach(_ point: FaultPoint) async { await reached(point) }

        /// As `reach`, where nothing can be awaited.
        package func strike(_ point: FaultPoint) { struck(point) }

        /// Whether this rule is to be broken, so that a test can show that it would notice.
        package func breaks(_ rule: Breakage) -> Bool { broken.contains(rule) }
    #else
        package static let none = FaultPoints()

        @inlinable
        package func reach(_ point: FaultPoint) async {}

        @inlinable
        package func strike(_ point: FaultPoint) {}

        @inlinable
        package func breaks(_ rule: Breakage) -> Bool { false }
    #endif
}

/// A place in the turn protocol; the list is below, in the order in which an event passes them.
package struct FaultPoint: Sendable, Hashable {
    #if FAULT_POINTS
        /// As in `PENSTOCK_FAULT`.
        package let name: String

        private init(_ name: String) {
            self.name = name
        }

        package static let all = joining + turning + committing + parting
        private static let joining = [
            joinBefore, joinAfter, claimBefore, claimAfter, assignBefore, assignAfter, pollBefore, pollAfter,
        ]
        private static let turning = [
            loadBefore, loadAfter, attemptBefore, attemptAfter, executeBefore, stepBefore, journalBefore,
            journalAfter, executeAfter, sealBefore, sealAfter, handBefore, handAfter,
        ]
        private static let committing = [
            beginBefore, beginAfter, produceBefore, produceAfter, offsetsBefore, offsetsAfter, commitBefore,
            commitAfter, bookBefore, bookAfter,
        ]
        private static let parting = [revokeBefore, revokeAfter, leaveBefore, leaveAfter]
    #else
        private init(_ name: @autoclosure () -> String) {}
    #endif

    // 0 and 1: joining the group, being given partitions.

    /// The group is not joined yet.
    package static var joinBefore: Self { Self("join.before") }
    /// A member, without partitions.
    package static var joinAfter: Self { Self("join.after") }
    /// Looking at the group; what is to be ours is not ours yet. The embedded log only.
    package static var claimBefore: Self { Self("claim.before") }
    /// Partitions are ours on the log, and nobody in the process knows. The embedded log only.
    package static var claimAfter: Self { Self("claim.after") }
    /// The log's client has assignments, the runner does not know them.
    package static var assignBefore: Self { Self("assign.before") }
    package static var assignAfter: Self { Self("assign.after") }

    // 2: records arrive.

    package static var pollBefore: Self { Self("poll.before") }
    /// Records are queued, none has started.
    package static var pollAfter: Self { Self("poll.after") }

    // 3 to 7: one event's turn.

    package static var loadBefore: Self { Self("load.before") }
    /// The conversation's head is known.
    package static var loadAfter: Self { Self("load.after") }
    package static var attemptBefore: Self { Self("attempt.before") }
    /// The attempt's mark is in the store.
    package static var attemptAfter: Self { Self("attempt.after") }
    package static var executeBefore: Self { Self("execute.before") }
    /// Before a model call or a skill run.
    package static var stepBefore: Self { Self("step.before") }
    /// A step that can not be computed again has run, and its result is nowhere yet.
    package static var journalBefore: Self { Self("journal.before") }
    /// The step's result is in the journal.
    package static var journalAfter: Self { Self("journal.after") }
    /// The agent has answered, nothing is sealed.
    package static var executeAfter: Self { Self("execute.after") }
    package static var sealBefore: Self { Self("seal.before") }
    /// The slot is in the store, ours or another's.
    package static var sealAfter: Self { Self("seal.after") }
    /// The outbox is decided, the runner does not have it.
    package static var handBefore: Self { Self("hand.before") }
    /// The runner has the outbox, no commit has started.
    package static var handAfter: Self { Self("hand.after") }

    // 8: the commit.

    /// What is to be committed has been checked against the assignments held; no transaction is open.
    package static var beginBefore: Self { Self("begin.before") }
    package static var beginAfter: Self { Self("begin.after") }
    package static var produceBefore: Self { Self("produce.before") }
    /// Every output is in the open transaction.
    package static var produceAfter: Self { Self("produce.after") }
    package static var offsetsBefore: Self { Self("offsets.before") }
    /// Outputs and progress are in the open transaction.
    package static var offsetsAfter: Self { Self("offsets.after") }
    package static var commitBefore: Self { Self("commit.before") }
    /// Committed, and nobody in the process knows.
    package static var commitAfter: Self { Self("commit.after") }
    /// The log's client knows, the runner does not.
    package static var bookBefore: Self { Self("book.before") }
    /// The conversations may go on.
    package static var bookAfter: Self { Self("book.after") }

    // 9: giving partitions back, leaving.

    package static var revokeBefore: Self { Self("revoke.before") }
    package static var revokeAfter: Self { Self("revoke.after") }
    package static var leaveBefore: Self { Self("leave.before") }
    package static var leaveAfter: Self { Self("leave.after") }
}

/// A rule of the protocol that a test may have broken, to show that it notices.
package enum Breakage: Sendable, Hashable, CaseIterable {
    /// Offsets done above the committed one are not kept.
    case noBitmap
    /// A partition that comes back is taken for the same assignment as before.
    case noEpoch
    /// Whoever finds the slot taken for its event emits what it made itself.
    case ownOutbox
    /// A commit is taken whoever holds the partition.
    case noFence
    /// A slot found in the way is taken for a rival's, who will emit it: nothing tells it from one's own put
    /// whose response was lost.
    case noPutID
}
