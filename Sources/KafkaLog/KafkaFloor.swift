import CRDKafka
package import Pipeline
import Synchronization

/// The least that consuming, producing and committing exactly once costs with librdkafka: one thread, no
/// turns, no state, no order per key. What a turn's cost is measured against.
package enum KafkaFloor {
    /// Reads `count` records of the topic in a group of its own, and appends `output` under each one's key to
    /// the other topic, as many in a transaction as come within 15 ms.
    ///
    /// `began` is called with the first record: joining the group is not counted.
    package static func run(
        _ settings: KafkaSettings,
        group: String,
        from input: String,
        to output: String,
        value: [UInt8],
        count: Int,
        began: @escaping @Sendable () -> Void
    ) async throws(EventLogError) {
        try await KafkaThread.run("kafka-floor") { () throws(EventLogError) in
            try loop(
                settings,
                group: group,
                from: input,
                to: output,
                value: value,
                count: count,
                began: began
            )
        }
    }

    private static func loop(
        _ settings: KafkaSettings,
        group: String,
        from input: String,
        to output: String,
        value: [UInt8],
        count: Int,
        began: () -> Void
    ) throws(EventLogError) {
        let assigner = Assigner()
        let member = try KafkaHandle(.member(group: group, instance: nil), settings, assigner.callbacks)
        defer { member.destroy() }
        assigner.member.withLock { $0 = member }
        let producer = try KafkaHandle(.transactions("\(group)-floor"), settings)
        defer { producer.destroy() }
        try check(rd_kafka_init_transactions(producer.pointer, 30_000), "init_transactions")
        rd_kafka_poll_set_consumer(member.pointer)
        let topics = PartitionList([TopicPartition(input, -1)], offset: -1)
        rd_kafka_subscribe(member.pointer, topics.pointer)
        var done = 0
        while done < count {
            let batch = take(from: member)
            guard !batch.keys.isEmpty else { continue }
            if done == 0 { began() }
            try commit(batch, to: output, value, member, producer)
            done += batch.keys.count
        }
        rd_kafka_consumer_close(member.pointer)
        assigner.member.withLock { $0 = nil }
    }

    /// Takes what the group gives. Called from within the poll, so only once the handle is known.
    private final class Assigner: Sendable {
        let member = Mutex<KafkaHandle?>(nil)

        var callbacks: KafkaHandle.Callbacks {
            KafkaHandle.Callbacks(rebalance: { [self] code, list in
                guard let member = member.withLock({ $0 }) else { return }
                let error =
                    code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
                    ? rd_kafka_incremental_assign(member.pointer, list)
                    : rd_kafka_incremental_unassign(member.pointer, list)
                if let error { rd_kafka_error_destroy(error) }
            })
        }
    }

    private struct Batch {
        var keys: [[UInt8]] = []
        var next: [TopicPartition: Int64] = [:]
    }

    private static func take(from member: KafkaHandle) -> Batch {
        var batch = Batch()
        let end = ContinuousClock.now + .milliseconds(15)
        while ContinuousClock.now < end,
            let message = rd_kafka_consumer_poll(member.pointer, batch.keys.isEmpty ? 100 : 1)
        {
            if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                let place = KafkaRecords.place(of: message)
                batch.next[place] = message.pointee.offset + 1
                let key = UnsafeRawBufferPointer(start: message.pointee.key, count: message.pointee.key_len)
                batch.keys.append(Array(key))
            }
            rd_kafka_message_destroy(message)
        }
        return batch
    }

    private static func commit(
        _ batch: Batch,
        to output: String,
        _ value: [UInt8],
        _ member: KafkaHandle,
        _ producer: KafkaHandle
    ) throws(EventLogError) {
        try check(rd_kafka_begin_transaction(producer.pointer), "begin_transaction")
        for key in batch.keys {
            let record = NewRecord(topic: output, key: String(decoding: key, as: UTF8.self), value: value)
            while KafkaRecords.produce(record, by: producer, mark: nil) == RD_KAFKA_RESP_ERR__QUEUE_FULL {
                rd_kafka_poll(producer.pointer, 5)
            }
        }
        let offsets = PartitionList(batch.next.map { ($0.key, $0.value) })
        guard let fence = GroupMetadata(of: member) else {
            throw EventLogError(.unavailable, "not in a group")
        }
        try check(
            rd_kafka_send_offsets_to_transaction(producer.pointer, offsets.pointer, fence.pointer, -1),
            "send_offsets_to_transaction"
        )
        try check(rd_kafka_commit_transaction(producer.pointer, -1), "commit_transaction")
    }

    private static func check(_ error: OpaquePointer?, _ call: String) throws(EventLogError) {
        if let error = TransactionError(error, call) { throw error.eventLogError }
    }
}
