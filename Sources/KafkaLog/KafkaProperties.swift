import Pipeline
import Topics

/// What librdkafka is told, for each use of it; Decisions/0009 says why for the considerable ones.
enum KafkaProperties {
    enum Use: Sendable, Hashable {
        /// Metadata, administration, offsets.
        case control
        /// Reads without a group.
        case reader
        /// Single records, idempotent.
        case appender
        /// Transactions under this `transactional.id`.
        case transactions(String)
        case member(group: String, instance: String?)
        /// Asks what the group has committed, and is no member.
        case progress(group: String)

        /// One of each kind that takes part in exactly-once processing.
        static let samples: [Self] = [.member(group: "check", instance: "check"), .transactions("check")]

        var isProducer: Bool {
            switch self {
            case .appender, .transactions: true
            case .control, .reader, .member, .progress: false
            }
        }
    }

    /// The guarantees rest on these.
    static let reserved: Set<String> = [
        "acks", "auto.offset.reset", "bootstrap.servers", "enable.auto.commit", "enable.auto.offset.store",
        "enable.idempotence", "enable.partition.eof", "group.id", "group.instance.id", "isolation.level",
        "log.queue", "max.in.flight", "max.in.flight.requests.per.connection", "metadata.broker.list",
        "partitioner", "request.required.acks", "transactional.id",
    ]

    static func check(_ properties: [String: String]) throws(EventLogError) {
        guard let name = properties.keys.sorted().first(where: reserved.contains) else { return }
        throw EventLogError(
            .invalid,
            "log.kafka.properties: \(name) can not be set: exactly-once processing rests on its value"
        )
    }

    static func all(_ use: Use, _ settings: KafkaSettings) -> [(name: String, value: String)] {
        var all = common(settings).merging(special(use)) { $1 }
        all.merge(settings.properties) { $1 }
        return all.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    private static func common(_ settings: KafkaSettings) -> [String: String] {
        [
            "bootstrap.servers": settings.bootstrap,
            "client.id": "penstock-\(settings.instance)",
            // Small requests would wait tens of milliseconds for an acknowledgement.
            "socket.nagle.disable": "true",
            "socket.keepalive.enable": "true",
            "reconnect.backoff.max.ms": "2000",
            "statistics.interval.ms": "5000",
        ]
    }

    private static func special(_ use: Use) -> [String: String] {
        switch use {
        case .control: ["isolation.level": "read_committed", "socket.timeout.ms": "10000"]
        case .reader:
            reading.merging(["queued.max.messages.kbytes": "4096", "enable.partition.eof": "true"]) { $1 }
        case .appender:
            producing.merging(["message.timeout.ms": "10000", "socket.timeout.ms": "8000"]) { $1 }
        case .transactions(let id):
            producing.merging([
                "transactional.id": id,
                // A dead worker holds back every reader of its outputs for so long.
                "transaction.timeout.ms": "10000",
                "message.timeout.ms": "8000",
                "socket.timeout.ms": "8000",
                // The coordinator still writes the markers of the transaction before: ask again soon.
                "retry.backoff.ms": "10",
            ]) { $1 }
        // A committed reader would wait for the transactions that are open.
        case .progress(let group): ["group.id": group, "isolation.level": "read_uncommitted"]
        case .member(let group, let instance):
            reading.merging(membership(group, instance)) { $1 }
        }
    }

    /// A record of the largest size, with Kafka's framing around it and its headers.
    static let messageBytesMax = Topic.recordBytesMax + 64 * 1_024

    private static let producing = [
        "enable.idempotence": "true",
        "acks": "all",
        "partitioner": "murmur2_random",
        "linger.ms": "0",
        "compression.type": "lz4",
        "message.max.bytes": "\(messageBytesMax)",
        // Several records never make a batch that a broker's default limit refuses.
        "batch.size": "262144",
    ]

    private static let reading = [
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "queued.min.messages": "1000",
        "fetch.wait.max.ms": "100",
        "fetch.error.backoff.ms": "50",
    ]

    private static func membership(_ group: String, _ instance: String?) -> [String: String] {
        var properties = [
            "group.id": group,
            "enable.auto.commit": "false",
            "enable.auto.offset.store": "false",
            // What is above the last record (transaction markers) counts as done too.
            "enable.partition.eof": "true",
            "partition.assignment.strategy": "cooperative-sticky",
            // How long a static member may stay away; how soon a dead dynamic one is noticed, for which
            // brokers take no less as they come (`group.min.session.timeout.ms`).
            "session.timeout.ms": instance == nil ? "6000" : "30000",
            // A round of the group begins when all have learnt of it, and each moved partition waits for one.
            "heartbeat.interval.ms": "500",
            // Also how long a rebalance waits for a member; turns never hold up the poll.
            "max.poll.interval.ms": instance == nil ? "20000" : "60000",
            "queued.max.messages.kbytes": "8192",
        ]
        properties["group.instance.id"] = instance
        return properties
    }
}
