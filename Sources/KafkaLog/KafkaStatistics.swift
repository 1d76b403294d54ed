import JSON
import Pipeline

/// What we need of librdkafka's statistics.
struct KafkaStatistics: Sendable {
    /// The offset after the last that a committed reader can see, as of the last fetch.
    private(set) var ends: [TopicPartition: Int64] = [:]
    private(set) var hasBroker = false

    /// Nil when the text is not what librdkafka's documentation says.
    init?(_ json: [UInt8]) {
        var reader = JSONReader(json)
        // Statistics that cannot be read cost a metric, not the consumer.
        guard let root = try? JSONValue(from: &reader), let brokers = root["brokers"]?.objectValue else {
            return nil
        }
        hasBroker = brokers.values.contains { $0["state"]?.stringValue == "UP" }
        for (topic, value) in root["topics"]?.objectValue ?? [:] {
            for (number, partition) in value["partitions"]?.objectValue ?? [:] {
                guard let number = Int32(number), number >= 0, let end = partition["ls_offset"]?.integerValue,
                    end >= 0
                else { continue }
                ends[TopicPartition(topic, number)] = end
            }
        }
    }
}
