import CRDKafka
import Foundation
import Pipeline
import PipelineTesting
import Synchronization
import Testing

@testable import KafkaLog

/// A broker that knows nothing of a producer takes any first sequence number. When it refuses a partition's
/// first batch for a moment and takes the second, librdkafka tells the first as stored too, and it is not.
/// librdkafka's own mock of a broker does both.
@Suite("Kafka: acknowledged without a place")
struct ImplicitAckTests {
    private static let topic = "topic"
    private static let produceKey: Int16 = 0

    private let settings = KafkaSettings(
        bootstrap: "127.0.0.1:1",
        instance: "implicit",
        properties: ["test.mock.num.brokers": "1", "batch.num.messages": "1"]
    )

    /// The next request to produce is refused as by a broker that does not lead the partition yet; the one
    /// behind it is on its way already.
    private func refuseFirst(_ handle: KafkaHandle) throws {
        let cluster = try #require(rd_kafka_handle_mock_cluster(handle.pointer))
        rd_kafka_mock_topic_create(cluster, Self.topic, 1, 1)
        rd_kafka_mock_broker_set_rtt(cluster, 1, 50)
        var errors = [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]
        rd_kafka_mock_push_request_errors_array(cluster, Self.produceKey, errors.count, &errors)
    }

    private func record(_ value: String) -> NewRecord {
        NewRecord(topic: Self.topic, key: "key", value: Array(value.utf8))
    }

    @Test("an append without a place is an error")
    func append() async throws {
        try await Threads.run {
            let handle = try KafkaHandle(
                .appender,
                settings,
                KafkaHandle.Callbacks(delivery: DeliveryMark.delivered)
            )
            try refuseFirst(handle)
            let results = Mutex<[Int: Result<RecordPosition, DeliveryMark.DeliveryError>]>([:])
            for number in 0..<3 {
                let mark = DeliveryMark { result in results.withLock { $0[number] = result } }
                let code = KafkaRecords.produce(record("\(number)"), by: handle, mark: mark)
                #expect(code == RD_KAFKA_RESP_ERR_NO_ERROR)
            }
            for _ in 0..<300 where results.withLock({ $0.count }) < 3 { rd_kafka_poll(handle.pointer, 100) }

            let found = results.withLock { $0 }
            #expect(found.count == 3)
            let error = #expect(throws: DeliveryMark.DeliveryError.self) { try found[0]?.get() }
            #expect(error?.eventLogError.kind == .unavailable)
            #expect(try found[1]?.get().offset == 0 && found[2]?.get().offset == 1)
            handle.destroy()
        }
    }

    @Test("a transaction with such a record is not committed, and the next one is")
    func transaction() async throws {
        try await Threads.run {
            let producer = TransactionalProducer("implicit", settings, reports: false)
            try refuseFirst(try producer.ready())
            let entries = (0..<3).map { TransactionalProducer.Entry(record: record("\($0)")) }

            let failure = #expect(throws: TransactionalProducer.Failure.self) {
                try producer.commit(entries, nil)
            }
            #expect(failure?.error.kind == .unavailable)
            try producer.commit(entries, nil)
            producer.destroy()
        }
    }
}
