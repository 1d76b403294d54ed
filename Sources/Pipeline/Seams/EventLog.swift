package import Topics

/// A durable log of keyed records in partitioned topics, in Kafka's terms.
///
/// Contract, the same for every engine and held by its conformance suite:
/// - Records of one key are in one partition (`Partitioner`), in the order of their appends.
/// - A record is readable only once it is durable and its transaction has committed.
/// - Offsets of a partition rise; they may have gaps.
package protocol EventLog: Sendable {
    /// Tells this log from every other, also from one created anew under the same address or folder, whose
    /// offsets start again. At most 64 bytes of `A-Z a-z 0-9 . _ -`.
    var identity: String { get }

    /// Most bytes of one record: key, value and headers together.
    var recordBytesMax: Int { get }

    /// Creates the topics that are missing. A topic that differs in partitions is refused, never changed.
    func prepare(_ topics: [Topic]) async throws(EventLogError)

    /// How the topics differ from what `prepare` would create; nothing is changed.
    func differences(_ topics: [Topic]) async throws(EventLogError) -> [TopicDifference]

    /// Stores the records, all or none; returns their positions, in order, once they are durable.
    ///
    /// An error of kind `.unavailable` does not say whether the records were stored.
    func append(_ records: [NewRecord]) async throws(EventLogError) -> [RecordPosition]

    /// Reads records from the first one at or after the offset, without a group.
    ///
    /// Returns as soon as there is one, or an empty page after `wait`. Offsets before the first kept record
    /// start there. A page's `next` is where to go on; it moves past gaps.
    func read(
        _ partition: TopicPartition,
        from offset: Int64,
        recordsMax: Int,
        wait: Duration
    ) async throws(EventLogError) -> LogPage

    /// First kept and next offset of each partition of the topic, by partition.
    func bounds(of topic: String) async throws(EventLogError) -> [LogBounds]

    /// What the group has done in each partition of the topic, by partition. For people and metrics: it waits
    /// for no open transaction, so a commit of a moment ago may not be in it yet.
    func progress(of group: String, in topic: String) async throws(EventLogError) -> [Progress]

    /// Joins the group. Members of a group share the partitions; a partition has one owner at a time.
    func join(_ membership: GroupMembership) async throws(EventLogError) -> any LogConsumer

    /// Throws when the log would not accept an append now.
    func check() async throws(EventLogError)

    /// Releases everything; calls in flight end with `.closed`.
    func close() async
}

extension EventLog {
    package func differences(_ topics: [Topic]) async throws(EventLogError) -> [TopicDifference] { [] }

    /// For engines: throws `.invalid` for what no log takes, a record without a key or over the limit.
    package func check(_ record: NewRecord) throws(EventLogError) {
        guard !record.key.isEmpty else {
            throw EventLogError(.invalid, "\(record.topic): a record without a key")
        }
        guard record.byteCount <= recordBytesMax else {
            throw EventLogError(
                .invalid,
                "\(record.topic): a record of \(record.byteCount) bytes, at most \(recordBytesMax) are taken"
            )
        }
    }
}

package struct TopicDifference: Sendable, Hashable {
    package let topic: String
    package let setting: String
    package let wanted: String
    package let found: String

    package init(topic: String, setting: String, wanted: String, found: String) {
        self.topic = topic
        self.setting = setting
        self.wanted = wanted
        self.found = found
    }
}

/// A member of a group. One task calls `next` in a loop; `commit` may run beside it, one at a time.
///
/// Exactly once: `commit` makes outputs visible and inputs done in one atomic step, and only while this
/// member owns the inputs' partitions. What was not committed is delivered again, to this member or another.
package protocol LogConsumer: Sendable {
    /// The next thing that happened, in order; waits for it. `.left` after `leave`, for ever.
    func next() async throws(EventLogError) -> ConsumerEvent

    /// Appends the outputs of all completions and marks their inputs done, all or none, in the given order.
    ///
    /// Completions whose assignment has ended are left out; returns those that took effect. After it returns,
    /// the `progress` of their assignments is current. Errors: `.unavailable`, nothing took effect as far as
    /// is known: commit the same completions again; `.fenced`, this member is out of the group and nothing
    /// took effect: leave and join again; `.invalid`, an output can never be stored.
    func commit(_ completions: [Completion]) async throws(EventLogError) -> [Completion]

    /// Stops delivery from the assignment's partition; records already handed over stay valid.
    func pause(_ assignment: Assignment) async
    func resume(_ assignment: Assignment) async

    /// Gives up an assignment that `.revoked` announced, after the last commit for it.
    func release(_ assignments: [Assignment]) async

    /// How old a commit should be before the next one begins: what is done meanwhile shares it.
    var commitSpacing: Duration { get }

    /// Gives up all partitions and leaves the group, so that others take over at once; a log that keeps a
    /// member's partitions for its restart may hold them back for that time.
    func leave() async
}

extension LogConsumer {
    package var commitSpacing: Duration { .zero }
}

package enum ConsumerEvent: Sendable {
    /// These partitions are this member's, from `progress.low` on.
    case assigned([Assignment])
    /// Records in rising offset order, some of them perhaps done already (`Assignment.isDone`).
    case records(Assignment, [LogRecord])
    /// The group wants these back: finish what is ready within 2 s, commit, `release`. No records follow.
    case revoked([Assignment])
    /// These are another's already; nothing of them can be committed any more.
    case lost([Assignment])
    case left
}

package struct GroupMembership: Sendable, Hashable {
    package var group: String
    package var topics: [String]
    /// Stable name of this member, unique in the group: a restart under the same name takes over its
    /// partitions.
    package var member: String

    package init(group: String, topics: [String], member: String) {
        self.group = group
        self.topics = topics
        self.member = member
    }
}

/// Input done, with what it caused.
package struct Completion: Sendable {
    package let assignment: Assignment
    package let offset: Int64
    package let outputs: [NewRecord]

    package init(assignment: Assignment, offset: Int64, outputs: [NewRecord]) {
        self.assignment = assignment
        self.offset = offset
        self.outputs = outputs
    }
}

package struct EventLogError: Error, Hashable {
    package enum Kind: Sendable {
        /// The log does not answer or does not accept now; try again later.
        case unavailable
        /// Another took this member's place.
        case fenced
        /// The call can never succeed: unknown topic, empty key, a record over the limit.
        case invalid
        /// The topic exists with another shape than asked for.
        case mismatch
        /// The stored data cannot be read.
        case corrupt
        case denied
        case closed
    }

    package let kind: Kind
    /// What, where, and the other side's words; for the log.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
