import CRDKafka
import Pipeline
import Synchronization
import Telemetry

/// Single records, idempotent and acknowledged by every in-sync replica. Those of several callers travel
/// together.
final class KafkaAppender: Sendable {
    private struct State {
        var handle: KafkaHandle?
        var isBroken = false
        var isClosed = false
    }

    private let settings: KafkaSettings
    private let state = Mutex(State())
    private let over = Gate()
    private let logger = Logger(label: "log.append")

    init(_ settings: KafkaSettings) throws(EventLogError) {
        self.settings = settings
        let first = try fresh()
        state.withLock { $0.handle = first }
        try KafkaThread.start("kafka-append") { [self] in serve() }
    }

    private func fresh() throws(EventLogError) -> KafkaHandle {
        try KafkaHandle(
            .appender,
            settings,
            KafkaHandle.Callbacks(
                error: { [weak self] code, words in
                    guard code == RD_KAFKA_RESP_ERR__FATAL else { return }
                    self?.state.withLock { $0.isBroken = true }
                    self?.logger.warning("Producer made anew", metadata: [LogKeys.error: words])
                },
                delivery: DeliveryMark.delivered
            )
        )
    }

    func append(_ record: NewRecord) async throws(EventLogError) -> RecordPosition {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<RecordPosition, EventLogError>, Never>) in
            let mark = DeliveryMark { result in
                continuation.resume(returning: result.mapError(\.eventLogError))
            }
            // Within the lock: the handle is not destroyed meanwhile.
            let refused = state.withLock { state -> EventLogError? in
                guard !state.isClosed, let handle = state.handle else {
                    return EventLogError(.closed, "the log was closed")
                }
                let code = KafkaRecords.produce(record, by: handle, mark: mark)
                return code == RD_KAFKA_RESP_ERR_NO_ERROR
                    ? nil : KafkaError.error(code, "append to \(record.topic)")
            }
            if let refused { continuation.resume(returning: .failure(refused)) }
        }
        return try result.get()
    }

    /// The thread's whole life: tells the marks, replaces a handle that met a fatal error.
    private func serve() {
        while let handle = state.withLock({ $0.isClosed ? nil : $0.handle }) {
            rd_kafka_poll(handle.pointer, 100)
            guard state.withLock({ $0.isBroken }) else { continue }
            do throws(EventLogError) {
                let next = try fresh()
                state.withLock { state in
                    state.handle = next
                    state.isBroken = false
                }
                finish(handle, flushing: 0)
            } catch {
                logger.error("No producer", metadata: [LogKeys.error: error.detail])
            }
        }
        if let handle = state.withLock({ $0.handle }) { finish(handle, flushing: 3_000) }
        over.open()
    }

    /// Tells every mark that is still open, then destroys the handle.
    private func finish(_ handle: KafkaHandle, flushing milliseconds: Int32) {
        if milliseconds > 0 { rd_kafka_flush(handle.pointer, milliseconds) }
        rd_kafka_purge(handle.pointer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
        for _ in 0..<40 where rd_kafka_outq_len(handle.pointer) > 0 { rd_kafka_poll(handle.pointer, 50) }
        handle.destroy()
    }

    func close(within limit: Duration) async -> Bool {
        state.withLock { $0.isClosed = true }
        return await over.wait(within: limit)
    }
}
