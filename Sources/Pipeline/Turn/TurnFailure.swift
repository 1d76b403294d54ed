/// Why a turn cannot go on now.
package struct TurnFailure: Error, Hashable {
    package enum Kind: Sendable, Hashable {
        /// Again later; counts as an attempt.
        case transient
        /// Again later, no sooner than this; does not count as an attempt.
        case throttled(after: Duration?)
        /// Never: the event becomes a dead letter.
        case permanent
        /// The store does not take or give what the turn needs; the turn waits, however long.
        case store
        /// An object that the conversation needs is missing or not what was put; the log may restore it.
        case unreadable
        /// The partition went to somebody else, or the process is stopping: nothing is kept.
        case abandoned
    }

    package let kind: Kind
    /// For the log and for dead letters; never shown in a chat.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
