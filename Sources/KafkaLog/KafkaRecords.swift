import CRDKafka
import Pipeline
import Topics

/// What is told when a record's fate is known.
final class DeliveryMark: Sendable {
    private let tell: @Sendable (Result<RecordPosition, DeliveryError>) -> Void

    struct DeliveryError: Error {
        let code: rd_kafka_resp_err_t
        let topic: String
        var words: String?

        var eventLogError: EventLogError { KafkaError.error(code, "append to \(topic)", words) }
    }

    /// A broker that knows nothing of a producer takes any first sequence number. When it refuses a
    /// partition's first batch for a moment and takes the second, librdkafka 2.0.2 concludes that the first
    /// must be stored too, and tells so, without an offset. It is not stored.
    private static let withoutPlace = "told as stored, but not where: it may be lost, append it again"

    init(_ tell: @escaping @Sendable (Result<RecordPosition, DeliveryError>) -> Void) {
        self.tell = tell
    }

    /// For `KafkaHandle.Callbacks.delivery`.
    static func delivered(_ message: UnsafePointer<rd_kafka_message_t>) {
        guard let opaque = message.pointee._private else { return }
        let mark = Unmanaged<DeliveryMark>.fromOpaque(opaque).takeRetainedValue()
        let topic = KafkaRecords.topic(of: message)
        guard message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
            return mark.tell(.failure(DeliveryError(code: message.pointee.err, topic: topic)))
        }
        guard message.pointee.offset >= 0 else {
            let code = RD_KAFKA_RESP_ERR__INCONSISTENT
            return mark.tell(.failure(DeliveryError(code: code, topic: topic, words: withoutPlace)))
        }
        let partition = TopicPartition(topic, message.pointee.partition)
        mark.tell(.success(RecordPosition(partition, message.pointee.offset)))
    }
}

enum KafkaRecords {
    /// Hands the record to the producer, which copies it. The mark is told once the record's fate is known,
    /// unless a code other than `NO_ERROR` is returned.
    static func produce(_ record: NewRecord, by handle: KafkaHandle, mark: DeliveryMark?)
        -> rd_kafka_resp_err_t
    {
        let headers = headers(record.headers)
        let opaque = mark.map { Unmanaged.passRetained($0) }
        let code = record.key.withUnsafeBytes { key in
            withBytes(record.value) { value in
                penstock_produce(
                    handle.pointer,
                    record.topic,
                    key.baseAddress,
                    key.count,
                    value.baseAddress,
                    value.count,
                    headers,
                    opaque?.toOpaque()
                )
            }
        }
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            if let headers { rd_kafka_headers_destroy(headers) }
            opaque?.release()
        }
        return code
    }

    private static func headers(_ headers: [LogHeader]) -> OpaquePointer? {
        guard !headers.isEmpty else { return nil }
        let list = rd_kafka_headers_new(headers.count)
        for header in headers {
            var name = header.name
            _ = name.withUTF8 { name in
                withBytes(header.value) { value in
                    name.withMemoryRebound(to: CChar.self) { name in
                        rd_kafka_header_add(
                            list,
                            name.baseAddress,
                            name.count,
                            value.baseAddress,
                            value.count
                        )
                    }
                }
            }
        }
        return list
    }

    /// An empty array may have no address; to Kafka that would be a null, which is another thing.
    private static func withBytes<Result>(
        _ bytes: [UInt8],
        _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        guard bytes.isEmpty else { return bytes.withUnsafeBytes(body) }
        var none: UInt8 = 0
        return withUnsafeBytes(of: &none) { body(UnsafeRawBufferPointer(rebasing: $0[..<0])) }
    }

    static func topic(of message: UnsafePointer<rd_kafka_message_t>) -> String {
        guard let topic = message.pointee.rkt, let name = rd_kafka_topic_name(topic) else { return "" }
        return String(cString: name)
    }

    static func place(of message: UnsafePointer<rd_kafka_message_t>) -> TopicPartition {
        TopicPartition(topic(of: message), message.pointee.partition)
    }

    static func record(_ message: UnsafePointer<rd_kafka_message_t>, in place: TopicPartition) -> LogRecord {
        LogRecord(
            position: RecordPosition(place, message.pointee.offset),
            time: Timestamp(milliseconds: rd_kafka_message_timestamp(message, nil)),
            key: bytes(message.pointee.key, message.pointee.key_len),
            headers: headers(of: message),
            value: bytes(message.pointee.payload, message.pointee.len)
        )
    }

    /// What the broker or the client says of an error that came in a message's place.
    static func words(of message: UnsafePointer<rd_kafka_message_t>) -> String {
        guard let words = rd_kafka_message_errstr(message) else { return "" }
        return String(cString: words)
    }

    private static func bytes(_ start: UnsafeRawPointer?, _ count: Int) -> [UInt8] {
        guard let start, count > 0 else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: count))
    }

    private static func headers(of message: UnsafePointer<rd_kafka_message_t>) -> [LogHeader] {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else {
            return []
        }
        var headers: [LogHeader] = []
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var count = 0
        while rd_kafka_header_get_all(list, headers.count, &name, &value, &count)
            == RD_KAFKA_RESP_ERR_NO_ERROR,
            let found = name
        {
            headers.append(LogHeader(String(cString: found), bytes(value, count)))
        }
        return headers
    }
}
