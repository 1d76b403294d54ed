import CRDKafka
package import Pipeline
import Synchronization
import Telemetry
package import Topics

/// The log on Apache Kafka, through librdkafka (Decisions/0009).
package final class KafkaLog: EventLog {
    /// Topics that were made by hand, with the 1,048,588 bytes that a broker takes unless told otherwise,
    /// refuse larger ones; `differences` says so.
    package let recordBytesMax = Topic.recordBytesMax
    let settings: KafkaSettings
    let chance: ChanceSource
    let faults: FaultPoints
    let logger = Logger(label: "log")
    private let admin: KafkaAdmin
    private let control: JobThread<@Sendable () -> Void>
    private let readers: KafkaReaders
    private let state = Mutex(State())

    private struct State {
        var identity = ""
        var partitions: [String: Int32] = [:]
        var inSyncMin: [String: Int] = [:]
        var appender: KafkaAppender?
        var batches: KafkaBatchAppender?
        var isClosed = false
    }

    /// Contacts no broker yet; throws when a property is wrong.
    package init(
        _ settings: KafkaSettings,
        chance: ChanceSource,
        faults: FaultPoints = .none
    ) throws(EventLogError) {
        self.faults = faults
        try KafkaProperties.check(settings.properties)
        // Some values are looked at only when a client is made: better now than when a group is joined.
        for use in settings.properties.isEmpty ? [] : KafkaProperties.Use.samples {
            try KafkaHandle(use, settings).destroy(isClosing: false)
        }
        self.settings = settings
        self.chance = chance
        let admin = try KafkaAdmin(settings)
        self.admin = admin
        control = try JobThread(
            "kafka-control",
            work: { jobs in
                for job in jobs { job() }
                admin.poll()
            },
            tick: { admin.poll() },
            end: { admin.destroy() }
        )
        readers = KafkaReaders(settings)
    }

    /// Of the library that is loaded, which may be newer than the one that was built against.
    package static var libraryVersion: String {
        rd_kafka_version_str().map { String(cString: $0) } ?? "unknown"
    }

    /// Known once `prepare` has returned: the cluster's id, and the stamp that the first topic was created
    /// with (`TopicShape.stamp`).
    package var identity: String { state.withLock { $0.identity } }

    package func prepare(_ topics: [Topic]) async throws(EventLogError) {
        let stamp = TopicShape.stamp(chance)
        let admin = admin
        let found = try await control.run { () throws(EventLogError) in
            try TopicShape.prepare(topics, stamp: stamp, by: admin)
        }
        state.withLock { state in
            if state.identity.isEmpty { state.identity = found.identity }
            state.partitions.merge(found.partitions) { $1 }
            state.inSyncMin.merge(found.inSyncMin) { $1 }
        }
    }

    package func differences(_ topics: [Topic]) async throws(EventLogError) -> [TopicDifference] {
        let admin = admin
        return try await control.run { () throws(EventLogError) in
            try TopicShape.differences(topics, by: admin)
        }
    }

    package func append(_ records: [NewRecord]) async throws(EventLogError) -> [RecordPosition] {
        try await check(records)
        switch records.count {
        case 0: return []
        case 1: return [try await appender().append(records[0])]
        default: return try await batches().append(records)
        }
    }

    // Made when they are needed: whoever only looks asks for no producer's rights.
    private func appender() throws(EventLogError) -> KafkaAppender {
        try state.withLock { state throws(EventLogError) -> KafkaAppender in
            if state.isClosed { throw EventLogError(.closed, "the log was closed") }
            if let appender = state.appender { return appender }
            let appender = try KafkaAppender(settings)
            state.appender = appender
            return appender
        }
    }

    private func batches() throws(EventLogError) -> KafkaBatchAppender {
        try state.withLock { state throws(EventLogError) -> KafkaBatchAppender in
            if state.isClosed { throw EventLogError(.closed, "the log was closed") }
            if let batches = state.batches { return batches }
            let batches = try KafkaBatchAppender(settings)
            state.batches = batches
            return batches
        }
    }

    package func read(
        _ partition: TopicPartition,
        from offset: Int64,
        recordsMax: Int,
        wait: Duration
    ) async throws(EventLogError) -> LogPage {
        let count = try await partitions(of: partition.topic)
        guard partition.partition >= 0, partition.partition < count else {
            throw EventLogError(.invalid, "\(partition.topic) has \(count) partitions")
        }
        let deadline = ContinuousClock.now + wait
        if wait > .milliseconds(100) {
            return try await readers.tail(partition, from: offset, recordsMax: recordsMax, until: deadline)
        }
        let end = try await bounds([partition])[0].next
        guard offset < end else { return LogPage(records: [], next: offset) }
        return try await readers.scan(partition, from: offset, to: end, recordsMax: recordsMax)
    }

    package func bounds(of topic: String) async throws(EventLogError) -> [LogBounds] {
        let count = try await partitions(of: topic)
        return try await bounds((0..<count).map { TopicPartition(topic, $0) })
    }

    private func bounds(_ places: [TopicPartition]) async throws(EventLogError) -> [LogBounds] {
        let admin = admin
        return try await control.run { () throws(EventLogError) in
            try admin.bounds(of: places)
        }
    }

    package func progress(of group: String, in topic: String) async throws(EventLogError) -> [Progress] {
        let count = try await partitions(of: topic)
        let places = (0..<count).map { TopicPartition(topic, $0) }
        let admin = admin
        return try await control.run { () throws(EventLogError) in
            let found = try admin.committed(group, places)
            return places.map { (found[$0] ?? nil) ?? Progress(low: 0) }
        }
    }

    package func join(_ membership: GroupMembership) async throws(EventLogError) -> any LogConsumer {
        var found: Set<TopicPartition> = []
        for topic in membership.topics {
            for number in 0..<(try await partitions(of: topic)) {
                found.insert(TopicPartition(topic, number))
            }
        }
        let places = found
        let settings = settings
        return try await KafkaThread.run("kafka-join") { [self] () throws(EventLogError) in
            try KafkaConsumer(membership, settings, faults, places: places) { outputs throws(EventLogError) in
                try await self.check(outputs)
            }
        }
    }

    package func check() async throws(EventLogError) {
        let (inSyncMin, isClosed) = state.withLock { ($0.inSyncMin, $0.isClosed) }
        if isClosed { throw EventLogError(.closed, "the log was closed") }
        let admin = admin
        try await control.run { () throws(EventLogError) in
            let states = try admin.states(of: Array(inSyncMin.keys))
            for (topic, needed) in inSyncMin.sorted(by: { $0.key < $1.key }) {
                try TopicShape.checkWritable(topic, states[topic], inSyncMin: needed)
            }
        }
    }

    package func close() async {
        let (batches, appender, isFirst) = state.withLock { state in
            defer { state.isClosed = true }
            return (state.batches, state.appender, !state.isClosed)
        }
        guard isFirst else { return }
        let limit = Duration.seconds(5)
        await readers.close(within: limit)
        let areDone = await [
            batches?.close(within: limit) ?? true, appender?.close(within: limit) ?? true,
            control.stop(within: limit),
        ]
        guard areDone.contains(false) else { return }
        logger.warning("Log not closed in order", metadata: [LogKeys.reason: "librdkafka does not come back"])
    }
}

extension KafkaLog {
    /// Asked of the brokers once for each topic: partitions are never added.
    func partitions(of topic: String) async throws(EventLogError) -> Int32 {
        let (known, isClosed) = state.withLock { ($0.partitions[topic], $0.isClosed) }
        if isClosed { throw EventLogError(.closed, "the log was closed") }
        if let known { return known }
        let admin = admin
        let found = try await control.run { () throws(EventLogError) in
            try admin.states(of: [topic])[topic]
        }
        guard let found else { throw EventLogError(.unavailable, "no word of topic \(topic)") }
        if KafkaError.isMissingTopic(found.code) {
            throw EventLogError(.invalid, "there is no topic \(topic)")
        }
        guard found.isThere else { throw KafkaError.error(found.code, "topic \(topic)") }
        let count = Int32(found.partitions.count)
        state.withLock { $0.partitions[topic] = count }
        return count
    }

    private func check(_ records: [NewRecord]) async throws(EventLogError) {
        for record in records {
            try check(record)
            _ = try await partitions(of: record.topic)
        }
    }
}
