import CRDKafka
import Glibc
import Pipeline
import Topics

/// Topics as we want them on the brokers, and as they are. On the control thread.
enum TopicShape {
    struct Found: Sendable {
        var identity = ""
        var partitions: [String: Int32] = [:]
        var inSyncMin: [String: Int] = [:]
    }

    /// The setting that carries a topic's stamp: a number drawn when the topic is created, so that one
    /// created anew under the same name is told from it (librdkafka 2.0.2 does not know topic ids). It has no
    /// effect on a topic that is not compacted.
    static let stampSetting = "delete.retention.ms"
    /// Kafka's own default, and whatever operators set, is below; 2 years, which some services allow at most,
    /// is above.
    private static let stamps: ClosedRange<Int64> = 1_000_000_000...63_000_000_000

    static func stamp(_ chance: ChanceSource) -> Int64 {
        let span = Double(stamps.upperBound - stamps.lowerBound)
        return stamps.lowerBound + Int64(chance.fraction() * span)
    }

    static func wanted(_ topic: Topic) -> [String: String] {
        var settings = [
            "cleanup.policy": topic.cleanup.rawValue,
            // The brokers' clock: a producer's may be wrong.
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": "\(KafkaProperties.messageBytesMax)",
        ]
        if topic.cleanup != .compact {
            settings["retention.ms"] = topic.retention.map { "\($0.milliseconds)" } ?? "-1"
        }
        return settings
    }

    static func prepare(_ topics: [Topic], stamp: Int64, by admin: KafkaAdmin) throws(EventLogError) -> Found
    {
        let names = topics.map(\.name)
        var states = try admin.states(of: names)
        let missing = topics.filter { states[$0.name]?.isThere != true }
        for topic in missing {
            guard let code = states[topic.name]?.code, code != RD_KAFKA_RESP_ERR_NO_ERROR,
                code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, code != RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
            else { continue }
            throw KafkaError.error(code, "topic \(topic.name)")
        }
        if !missing.isEmpty {
            try admin.create(missing.map { new($0, stamp: stamp) })
            states = try ready(names, by: admin)
        }
        for topic in topics {
            let count = states[topic.name]?.partitions.count ?? 0
            guard count == Int(topic.partitions) else {
                throw EventLogError(
                    .mismatch,
                    "topic \(topic.name) has \(count) partitions, \(topic.partitions) are wanted; the number "
                        + "can not be changed, because keys would move: use another prefix, or a new topic"
                )
            }
        }
        return try found(topics, by: admin, within: missing.isEmpty ? .zero : patience)
    }

    private static func new(_ topic: Topic, stamp: Int64) -> KafkaAdmin.NewTopic {
        var settings = wanted(topic)
        if topic.cleanup == .delete { settings[stampSetting] = "\(stamp)" }
        return KafkaAdmin.NewTopic(name: topic.name, partitions: topic.partitions, settings: settings)
    }

    /// For topics that were just created: not every broker knows of them yet.
    private static let patience: Duration = .seconds(60)

    /// Created topics have leaders a little later: of a busy broker's, some ten seconds.
    static func ready(_ names: [String], by admin: KafkaAdmin) throws(EventLogError)
        -> [String: KafkaAdmin.TopicState]
    {
        let end = ContinuousClock.now + patience
        while true {
            let states = try admin.states(of: names)
            let areReady = names.allSatisfy { name in
                states[name].map { $0.isThere && $0.partitions.allSatisfy(\.hasLeader) } ?? false
            }
            if areReady { return states }
            guard ContinuousClock.now < end else {
                throw EventLogError(.unavailable, "topics were created and have no leaders yet")
            }
            usleep(100_000)
        }
    }

    private static func settings(
        of names: [String],
        by admin: KafkaAdmin,
        within patience: Duration
    ) throws(EventLogError) -> [String: [String: String]] {
        let end = ContinuousClock.now + patience
        while true {
            do throws(EventLogError) {
                return try admin.settings(of: names)
            } catch {
                guard error.kind == .unavailable, .now < end else { throw error }
                usleep(100_000)
            }
        }
    }

    private static func found(
        _ topics: [Topic],
        by admin: KafkaAdmin,
        within patience: Duration
    ) throws(EventLogError) -> Found {
        let settings = try settings(of: topics.map(\.name), by: admin, within: patience)
        var found = Found()
        for topic in topics {
            found.partitions[topic.name] = topic.partitions
            found.inSyncMin[topic.name] =
                settings[topic.name]?["min.insync.replicas"].flatMap { Int($0) } ?? 1
        }
        let cluster = try admin.clusterID()
        let stamp = topics.first.flatMap { settings[$0.name]?[stampSetting] } ?? ""
        found.identity = "\(cluster.prefix(40)).\(stamp.prefix(20))"
        return found
    }

    static func differences(_ topics: [Topic], by admin: KafkaAdmin) throws(EventLogError)
        -> [TopicDifference]
    {
        let states = try admin.states(of: topics.map(\.name))
        let there = topics.filter { states[$0.name]?.isThere == true }
        let settings = there.isEmpty ? [:] : try admin.settings(of: there.map(\.name))
        var differences: [TopicDifference] = []
        for topic in topics {
            guard let state = states[topic.name], state.isThere else {
                differences.append(
                    TopicDifference(topic: topic.name, setting: "topic", wanted: "there", found: "missing")
                )
                continue
            }
            var pairs = [("partitions", "\(topic.partitions)", "\(state.partitions.count)")]
            for (name, value) in wanted(topic).sorted(by: { $0.key < $1.key }) {
                pairs.append((name, value, settings[topic.name]?[name] ?? "unknown"))
            }
            for (name, wanted, found) in pairs where !isSame(name, wanted, found) {
                differences.append(
                    TopicDifference(topic: topic.name, setting: name, wanted: wanted, found: found)
                )
            }
        }
        return differences
    }

    /// Policies are a set.
    private static func isSame(_ name: String, _ wanted: String, _ found: String) -> Bool {
        guard name == "cleanup.policy" else { return wanted == found }
        return Set(wanted.split(separator: ",")) == Set(found.split(separator: ","))
    }

    static func checkWritable(_ topic: String, _ state: KafkaAdmin.TopicState?, inSyncMin: Int)
        throws(EventLogError)
    {
        guard let state else { throw EventLogError(.unavailable, "no word of topic \(topic)") }
        guard state.isThere else { throw KafkaError.error(state.code, "topic \(topic)") }
        for (number, partition) in state.partitions.enumerated() {
            guard partition.hasLeader else {
                throw EventLogError(.unavailable, "\(topic)/\(number) has no leader")
            }
            guard partition.inSync >= inSyncMin else {
                throw EventLogError(
                    .unavailable,
                    "\(topic)/\(number) has \(partition.inSync) replicas in sync, \(inSyncMin) are needed"
                )
            }
        }
    }
}
