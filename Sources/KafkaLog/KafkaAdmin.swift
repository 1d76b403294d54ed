import CRDKafka
import Glibc
import Pipeline
import Synchronization
import Topics

/// Blocking calls about topics, groups and offsets, on a consumer handle without a group. For one thread.
final class KafkaAdmin: Sendable {
    static let timeoutMilliseconds: Int32 = 5_000
    /// For what the brokers have to do first, as creating topics.
    private static let workMilliseconds: Int32 = 15_000

    let handle: KafkaHandle
    private let settings: KafkaSettings
    /// One for each group whose progress is asked for; destroyed with the handle.
    private let clients = Mutex<[String: KafkaHandle]>([:])
    private let box: TroubleBox
    /// Topics whose metadata is asked for; destroyed before the handle.
    private let known = Mutex<[String: Known]>([:])

    // librdkafka's topic objects may be used by several threads at once.
    private struct Known: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    init(_ settings: KafkaSettings) throws(EventLogError) {
        self.settings = settings
        let shared = TroubleBox()
        handle = try KafkaHandle(
            .control,
            settings,
            KafkaHandle.Callbacks(error: { code, words in shared.set(code, words) })
        )
        box = shared
    }

    /// The newest error that librdkafka told of by itself.
    private final class TroubleBox: Sendable {
        private let value = Mutex<(code: rd_kafka_resp_err_t, words: String)?>(nil)
        func set(_ code: rd_kafka_resp_err_t, _ words: String) { value.withLock { $0 = (code, words) } }
        func clear() { value.withLock { $0 = nil } }
        var current: (code: rd_kafka_resp_err_t, words: String)? { value.withLock { $0 } }
    }

    func poll() {
        rd_kafka_poll(handle.pointer, 0)
        for client in clients.withLock({ Array($0.values) }) { rd_kafka_poll(client.pointer, 0) }
    }

    func destroy() {
        let topics = known.withLock { known in
            defer { known = [:] }
            return known.values.map(\.pointer)
        }
        for topic in topics { rd_kafka_topic_destroy(topic) }
        let clients = clients.withLock { clients in
            defer { clients = [:] }
            return clients.values
        }
        for client in clients { client.destroy(isClosing: false) }
        handle.destroy(isClosing: false)
    }

    /// Of a call that got no answer: with what librdkafka has said of its connections meanwhile.
    private func unanswered(_ code: rd_kafka_resp_err_t, _ what: String) -> EventLogError {
        poll()
        let isTransport =
            code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT
            || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
        guard isTransport, let trouble = box.current else {
            return KafkaError.error(code, "\(what) at \(settings.bootstrap)")
        }
        return KafkaError.error(trouble.code, "\(what) at \(settings.bootstrap)", trouble.words)
    }
}

// Metadata.
extension KafkaAdmin {
    struct TopicState: Sendable {
        struct Partition: Sendable {
            let hasLeader: Bool
            let inSync: Int
        }

        let code: rd_kafka_resp_err_t
        let partitions: [Partition]
        var isThere: Bool { code == RD_KAFKA_RESP_ERR_NO_ERROR && !partitions.isEmpty }
    }

    func clusterID() throws(EventLogError) -> String {
        guard let text = rd_kafka_clusterid(handle.pointer, Self.timeoutMilliseconds) else {
            throw unanswered(RD_KAFKA_RESP_ERR__TIMED_OUT, "cluster id")
        }
        defer { rd_kafka_mem_free(handle.pointer, text) }
        return String(cString: text)
    }

    /// Of these topics and of all asked for before.
    func states(of topics: [String]) throws(EventLogError) -> [String: TopicState] {
        for topic in topics where known.withLock({ $0[topic] }) == nil {
            guard let pointer = rd_kafka_topic_new(handle.pointer, topic, nil) else {
                throw KafkaError.error(rd_kafka_last_error(), "topic \(topic)")
            }
            let entry = Known(pointer: pointer)
            known.withLock { $0[topic] = entry }
        }
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(handle.pointer, 0, nil, &metadata, Self.timeoutMilliseconds)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else { throw unanswered(code, "metadata") }
        defer { rd_kafka_metadata_destroy(metadata) }
        box.clear()
        var states: [String: TopicState] = [:]
        for index in 0..<Int(metadata.pointee.topic_cnt) {
            let topic = metadata.pointee.topics[index]
            states[String(cString: topic.topic)] = TopicState(
                code: topic.err,
                partitions: (0..<Int(topic.partition_cnt)).map { number in
                    let partition = topic.partitions[number]
                    return TopicState.Partition(
                        hasLeader: partition.leader >= 0,
                        inSync: Int(partition.isr_cnt)
                    )
                }
            )
        }
        return states
    }

    func bounds(of places: [TopicPartition]) throws(EventLogError) -> [LogBounds] {
        try Self.bounds(of: places, by: handle)
    }

    /// In the order of the places: the first kept offset, and the one after the last that a committed reader
    /// can see.
    ///
    /// Asks who leads them first: one often wants to know because a broker is gone, which librdkafka would
    /// take for their leader for minutes, and wait for.
    static func bounds(of places: [TopicPartition], by handle: KafkaHandle) throws(EventLogError)
        -> [LogBounds]
    {
        try refreshLeaders(of: places, by: handle)
        let firsts = try offsets(places, time: -2, by: handle)
        let ends = try offsets(places, time: -1, by: handle)
        return zip(firsts, ends).map { LogBounds(first: $0, next: max($0, $1)) }
    }

    /// Offsets for a time, in the order of the places.
    private static func offsets(_ places: [TopicPartition], time: Int64, by handle: KafkaHandle)
        throws(EventLogError) -> [Int64]
    {
        var attempt = 0
        while true {
            attempt += 1
            let list = PartitionList(places, offset: time)
            let code = rd_kafka_offsets_for_times(handle.pointer, list.pointer, timeoutMilliseconds)
            let elements = list.elements
            let bad = elements.first { $0.code != RD_KAFKA_RESP_ERR_NO_ERROR || $0.offset < 0 }
            if code == RD_KAFKA_RESP_ERR_NO_ERROR, bad == nil { return elements.map(\.offset) }
            // A call that got no answer leaves the places as they were, without a code of their own.
            let worst = code == RD_KAFKA_RESP_ERR_NO_ERROR ? bad?.code ?? code : code
            // A leader that is new: librdkafka asks for it by itself meanwhile.
            guard isMoving(worst) || isMoving(code), attempt < 30 else {
                throw KafkaError.error(
                    worst,
                    "offsets of \(bad?.place.description ?? places.first?.topic ?? "")"
                )
            }
            usleep(100_000)
        }
    }

    private static func refreshLeaders(of places: [TopicPartition], by handle: KafkaHandle)
        throws(EventLogError)
    {
        for name in Set(places.map(\.topic)).sorted() {
            guard let topic = rd_kafka_topic_new(handle.pointer, name, nil) else {
                throw KafkaError.error(rd_kafka_last_error(), "topic \(name)")
            }
            defer { rd_kafka_topic_destroy(topic) }
            var metadata: UnsafePointer<rd_kafka_metadata>?
            let code = rd_kafka_metadata(handle.pointer, 0, topic, &metadata, timeoutMilliseconds)
            guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
                throw KafkaError.error(code, "leaders of \(name)")
            }
            rd_kafka_metadata_destroy(metadata)
        }
    }

    private static func isMoving(_ code: rd_kafka_resp_err_t) -> Bool {
        switch code {
        case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
            RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
            true
        default: false
        }
    }
}

// Administration.
extension KafkaAdmin {
    struct NewTopic: Sendable {
        let name: String
        let partitions: Int32
        let settings: [String: String]
    }

    /// Topics that are there already are left alone.
    func create(_ topics: [NewTopic]) throws(EventLogError) {
        var pointers: [OpaquePointer?] = []
        defer { for pointer in pointers { rd_kafka_NewTopic_destroy(pointer) } }
        for topic in topics {
            var words = [CChar](repeating: 0, count: 256)
            let pointer = rd_kafka_NewTopic_new(topic.name, topic.partitions, -1, &words, words.count)
            guard let pointer else {
                throw EventLogError(.invalid, "topic \(topic.name): \(Self.text(words))")
            }
            for (name, value) in topic.settings.sorted(by: { $0.key < $1.key }) {
                rd_kafka_NewTopic_set_config(pointer, name, value)
            }
            pointers.append(pointer)
        }
        let event = try call(RD_KAFKA_ADMIN_OP_CREATETOPICS, "creating topics") { options, queue in
            rd_kafka_CreateTopics(handle.pointer, &pointers, pointers.count, options, queue)
        }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        let results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
        for index in 0..<count {
            guard let result = results?[index] else { continue }
            let code = rd_kafka_topic_result_error(result)
            guard code != RD_KAFKA_RESP_ERR_NO_ERROR, code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS else {
                continue
            }
            let name = rd_kafka_topic_result_name(result).map { String(cString: $0) } ?? ""
            let words = rd_kafka_topic_result_error_string(result).map { String(cString: $0) }
            throw KafkaError.error(code, "creating topic \(name)", words)
        }
    }

    /// The topics' settings by topic and name.
    func settings(of topics: [String]) throws(EventLogError) -> [String: [String: String]] {
        var resources = topics.map { rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, $0) }
        defer { for resource in resources { rd_kafka_ConfigResource_destroy(resource) } }
        let event = try call(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, "settings of topics") { options, queue in
            rd_kafka_DescribeConfigs(handle.pointer, &resources, resources.count, options, queue)
        }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        let found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event),
            &count
        )
        var settings: [String: [String: String]] = [:]
        for index in 0..<count {
            guard let resource = found?[index] else { continue }
            let topic = rd_kafka_ConfigResource_name(resource).map { String(cString: $0) } ?? ""
            let code = rd_kafka_ConfigResource_error(resource)
            guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
                throw KafkaError.error(code, "settings of topic \(topic) (DescribeConfigs)")
            }
            settings[topic] = Self.entries(of: resource)
        }
        return settings
    }

    private static func entries(of resource: OpaquePointer) -> [String: String] {
        var entries: [String: String] = [:]
        var count = 0
        let found = rd_kafka_ConfigResource_configs(resource, &count)
        for index in 0..<count {
            guard let entry = found?[index], let name = rd_kafka_ConfigEntry_name(entry),
                let value = rd_kafka_ConfigEntry_value(entry)
            else { continue }
            entries[String(cString: name)] = String(cString: value)
        }
        return entries
    }

    /// What the group has committed in these partitions, without waiting for open transactions; nil where it
    /// has committed nothing.
    ///
    /// By a client of the group that never joins it: librdkafka 2.0.2 crashes over
    /// `ListConsumerGroupOffsets` when it finds the coordinator after the call's time is up.
    func committed(_ group: String, _ places: [TopicPartition]) throws(EventLogError)
        -> [TopicPartition: Progress?]
    {
        try MemberLoop.committed(places, by: try client(of: group), group: group)
    }

    private func client(of group: String) throws(EventLogError) -> KafkaHandle {
        if let client = clients.withLock({ $0[group] }) { return client }
        let client = try KafkaHandle(.progress(group: group), settings)
        clients.withLock { $0[group] = client }
        return client
    }

    /// Runs one call of the administration API and waits for its event, which the caller destroys.
    private func call(
        _ operation: rd_kafka_admin_op_t,
        _ what: String,
        _ start: (OpaquePointer?, OpaquePointer?) -> Void
    ) throws(EventLogError) -> OpaquePointer {
        let options = rd_kafka_AdminOptions_new(handle.pointer, operation)
        defer { rd_kafka_AdminOptions_destroy(options) }
        rd_kafka_AdminOptions_set_request_timeout(options, Self.workMilliseconds, nil, 0)
        if operation == RD_KAFKA_ADMIN_OP_CREATETOPICS {
            rd_kafka_AdminOptions_set_operation_timeout(options, Self.workMilliseconds, nil, 0)
        }
        let queue = rd_kafka_queue_new(handle.pointer)
        defer { rd_kafka_queue_destroy(queue) }
        start(options, queue)
        guard let event = rd_kafka_queue_poll(queue, Self.workMilliseconds + 5_000) else {
            throw unanswered(RD_KAFKA_RESP_ERR__TIMED_OUT, what)
        }
        let code = rd_kafka_event_error(event)
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return event }
        rd_kafka_event_destroy(event)
        throw unanswered(code, what)
    }

    private static func text(_ words: [CChar]) -> String {
        String(decoding: words.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
