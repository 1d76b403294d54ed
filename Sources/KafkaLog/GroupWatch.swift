import CRDKafka
import Pipeline

/// When a member looks at its group for partitions that are nobody's, as a value.
///
/// A static member that dies after it gave partitions up, and before it has joined the next round, comes back
/// to the assignment of the round before, and the broker starts no other: what it gave up is nobody's until
/// something else moves the group. So whoever has just begun looks, twice; a hand-over that is under way is
/// done in between (`MemberLoop.revokeWithin`).
struct GroupWatch: Sendable {
    static let pause: Duration = .seconds(6)

    private var rounds = 0
    private var lookAt: ContinuousClock.Instant?
    private var isSuspicious = false

    /// The group has shared its partitions out.
    mutating func assigned(now: ContinuousClock.Instant) {
        rounds += 1
        isSuspicious = false
        // Whoever was there before this round gave its part to it.
        lookAt = rounds == 1 ? now + Self.pause : nil
    }

    func isDue(now: ContinuousClock.Instant) -> Bool { lookAt.map { $0 <= now } ?? false }

    /// `hasOrphans`: nil when it can not be told. True when the group has to share anew.
    mutating func saw(hasOrphans: Bool?, now: ContinuousClock.Instant) -> Bool {
        guard let hasOrphans else {
            lookAt = now + Self.pause
            return false
        }
        let mustMove = hasOrphans && isSuspicious
        isSuspicious = hasOrphans
        lookAt = hasOrphans && !mustMove ? now + Self.pause : nil
        return mustMove
    }
}

extension KafkaAdmin {
    /// The partitions that the group's members have; nil while it shares them out.
    static func owned(in group: String, by handle: KafkaHandle) throws(EventLogError) -> Set<TopicPartition>?
    {
        let (event, code) = event(
            RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            by: handle,
            within: timeoutMilliseconds
        ) { options, queue in
            group.withCString { name in
                var names: [UnsafePointer<CChar>?] = [name]
                rd_kafka_DescribeConsumerGroups(handle.pointer, &names, 1, options, queue)
            }
        }
        guard let event else { throw KafkaError.error(code, "members of group \(group)") }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        let groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event),
            &count
        )
        guard count == 1, let found = groups?[0],
            rd_kafka_ConsumerGroupDescription_state(found) == RD_KAFKA_CONSUMER_GROUP_STATE_STABLE
        else { return nil }
        var owned: Set<TopicPartition> = []
        for index in 0..<rd_kafka_ConsumerGroupDescription_member_count(found) {
            let member = rd_kafka_ConsumerGroupDescription_member(found, index)
            let assignment = rd_kafka_MemberDescription_assignment(member)
            guard let list = rd_kafka_MemberAssignment_partitions(assignment) else { continue }
            owned.formUnion(PartitionList.elements(list).map(\.place))
        }
        return owned
    }
}
