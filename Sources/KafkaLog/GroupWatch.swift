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
    ///
    /// By the oldest of librdkafka's ways to ask: version 2.0.2 ends the process over the newer one,
    /// `DescribeConsumerGroups`, when a broker leaves it open (`rd_kafka_enq_once_del_source_return`).
    static func owned(in group: String, by handle: KafkaHandle) throws(EventLogError) -> Set<TopicPartition>?
    {
        var list: UnsafePointer<rd_kafka_group_list>?
        let code = rd_kafka_list_groups(handle.pointer, group, &list, Int32(timeoutMilliseconds))
        defer { if let list { rd_kafka_group_list_destroy(list) } }
        guard let list, code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__PARTIAL else {
            throw KafkaError.error(code, "members of group \(group)")
        }
        // A broker that did not answer may be the one that knows.
        guard list.pointee.group_cnt == 1, let found = list.pointee.groups?[0],
            found.err == RD_KAFKA_RESP_ERR_NO_ERROR, String(cString: found.state) == "Stable"
        else { return nil }
        var owned: Set<TopicPartition> = []
        for index in 0..<Int(found.member_cnt) {
            guard let member = found.members?[index] else { continue }
            let bytes = UnsafeRawBufferPointer(
                start: member.member_assignment,
                count: Int(member.member_assignment_size)
            )
            guard let places = MemberAssignment.places(Array(bytes)) else { return nil }
            owned.formUnion(places)
        }
        return owned
    }
}

/// What a member was given, as Kafka's consumer protocol writes it: a version, then for each topic its name
/// and its partitions, then bytes of the assignor's own. Numbers are big-endian.
enum MemberAssignment {
    /// Nil for what is not written so. No bytes are no partitions: a member that is still joining.
    static func places(_ bytes: [UInt8]) -> [TopicPartition]? {
        guard !bytes.isEmpty else { return [] }
        var reader = Reader(bytes: bytes[...])
        guard reader.integer(2) != nil, let topics = reader.integer(4) else { return nil }
        var places: [TopicPartition] = []
        for _ in 0..<max(topics, 0) {
            guard let length = reader.integer(2), let name = reader.take(length),
                let count = reader.integer(4)
            else { return nil }
            let topic = String(decoding: name, as: UTF8.self)
            for _ in 0..<max(count, 0) {
                guard let partition = reader.integer(4) else { return nil }
                places.append(TopicPartition(topic, Int32(truncatingIfNeeded: partition)))
            }
        }
        return places
    }

    private struct Reader {
        var bytes: ArraySlice<UInt8>

        mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
            guard count >= 0, bytes.count >= count else { return nil }
            defer { bytes = bytes.dropFirst(count) }
            return bytes.prefix(count)
        }

        mutating func integer(_ count: Int) -> Int? {
            take(count).map { $0.reduce(0) { $0 << 8 | Int($1) } }
        }
    }
}
