import CRDKafka
import Pipeline
import Synchronization
import Telemetry

/// A producer that only writes in transactions, and is made anew after one that failed. For one thread, which
/// may block for the transaction's time-out.
final class TransactionalProducer: Sendable {
    struct Failure: Error {
        let error: EventLogError
        /// The commit may have taken effect all the same.
        let isOutcomeUnknown: Bool
    }

    /// Progress to be committed with the records.
    struct Offsets: Sendable {
        let entries: [(place: TopicPartition, progress: Progress)]
        let fence: GroupMetadata
    }

    struct Entry: Sendable {
        let record: NewRecord
        var mark: DeliveryMark?
    }

    /// Whether a record was told as stored, but not where: see `DeliveryMark`.
    private final class Unplaced: Sendable {
        let isSeen = Atomic(false)

        func note(_ message: UnsafePointer<rd_kafka_message_t>) {
            guard message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR, message.pointee.offset < 0 else {
                return
            }
            isSeen.store(true, ordering: .relaxed)
        }
    }

    private static let initMilliseconds: Int32 = 10_000
    /// Without one a call waits for a coordinator that is gone for as long as that is so.
    private static let callMilliseconds: Int32 = 5_000
    /// Less: when this does not work, the next producer ends the transaction, or its time-out does.
    private static let abortMilliseconds: Int32 = 3_000
    /// What has not worked by then works with a new producer only.
    private static let retryFor: Duration = .seconds(10)
    private static let fullQueueMax = 200

    private let id: String
    private let settings: KafkaSettings
    /// Whether records carry marks.
    private let reports: Bool
    private let handle = Mutex<KafkaHandle?>(nil)
    private let unplaced = Unplaced()
    private let faults: FaultPoints
    private let metrics: TransactionMetrics
    private let logger = Logger(label: "log.transactions")

    init(_ id: String, _ settings: KafkaSettings, reports: Bool, faults: FaultPoints = .none) {
        self.faults = faults
        self.id = id
        self.settings = settings
        self.reports = reports
        metrics = TransactionMetrics(id)
    }

    /// Ends what a former producer of this name has left open, and shuts it out.
    @discardableResult
    func ready() throws(EventLogError) -> KafkaHandle {
        if let handle = handle.withLock({ $0 }) { return handle }
        let callbacks = KafkaHandle.Callbacks(delivery: { [unplaced, reports] message in
            unplaced.note(message)
            if reports { DeliveryMark.delivered(message) }
        })
        let fresh = try KafkaHandle(.transactions(id), settings, callbacks)
        for attempt in 1... {
            let failed = TransactionError(
                rd_kafka_init_transactions(fresh.pointer, Self.initMilliseconds),
                "init_transactions of \(id)"
            )
            guard let failed else { break }
            guard failed.remedy == .retry, attempt < 2 else {
                fresh.destroy()
                throw failed.eventLogError
            }
        }
        handle.withLock { $0 = fresh }
        return fresh
    }

    func poll() {
        if let handle = handle.withLock({ $0 }) { rd_kafka_poll(handle.pointer, 0) }
    }

    func destroy() {
        let old = handle.withLock { handle in
            defer { handle = nil }
            return handle
        }
        guard let old else { return }
        // Their marks are told before the handle is gone.
        rd_kafka_purge(old.pointer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
        for _ in 0..<20 where rd_kafka_outq_len(old.pointer) > 0 { rd_kafka_poll(old.pointer, 50) }
        old.destroy()
    }

    /// Writes the records and the offsets in one transaction. After a failure everything is as before, but
    /// for an unknown outcome, which the next `ready` has settled one way or the other.
    func commit(_ entries: [Entry], _ offsets: Offsets?) throws(Failure) {
        let handle: KafkaHandle
        do throws(EventLogError) {
            handle = try ready()
        } catch {
            throw Failure(error: error, isOutcomeUnknown: false)
        }
        do throws(TransactionError) {
            unplaced.isSeen.store(false, ordering: .relaxed)
            try check(rd_kafka_begin_transaction(handle.pointer), "begin_transaction")
            faults.strike(.beginAfter)
            faults.strike(.produceBefore)
            for entry in entries { try produce(entry, by: handle) }
            faults.strike(.produceAfter)
            faults.strike(.offsetsBefore)
            if let offsets { try send(offsets, by: handle) }
            faults.strike(.offsetsAfter)
            try confirm(handle)
            faults.strike(.commitBefore)
        } catch {
            recover(handle, from: error)
            throw Failure(error: error.eventLogError, isOutcomeUnknown: false)
        }
        do throws(TransactionError) {
            try persist("commit_transaction") {
                rd_kafka_commit_transaction(handle.pointer, Self.callMilliseconds)
            }
        } catch {
            recover(handle, from: error)
            throw Failure(error: error.eventLogError, isOutcomeUnknown: true)
        }
        metrics.committed.increment()
    }

    private func check(_ error: OpaquePointer?, _ call: String) throws(TransactionError) {
        if let error = TransactionError(error, "\(call) of \(id)") { throw error }
    }

    /// Makes the call again as long as that is what its error asks for.
    private func persist(_ call: String, _ body: () -> OpaquePointer?) throws(TransactionError) {
        let deadline = ContinuousClock.now + Self.retryFor
        while let error = TransactionError(body(), "\(call) of \(id)") {
            guard error.remedy == .retry else { throw error }
            guard .now < deadline else { throw TransactionError(error.code, error.call, remedy: .recreate) }
        }
    }

    private func produce(_ entry: Entry, by handle: KafkaHandle) throws(TransactionError) {
        for attempt in 1... {
            let code = KafkaRecords.produce(entry.record, by: handle, mark: entry.mark)
            switch code {
            case RD_KAFKA_RESP_ERR_NO_ERROR: return
            case RD_KAFKA_RESP_ERR__QUEUE_FULL where attempt < Self.fullQueueMax:
                rd_kafka_poll(handle.pointer, 20)
            default: throw TransactionError(code, "a record for \(entry.record.topic)", remedy: .abort)
            }
        }
    }

    /// Waits until each record's fate is known, at most the transaction's time-out; the commit itself would
    /// take a record for stored that is not. With those that failed the commit fails.
    private func confirm(_ handle: KafkaHandle) throws(TransactionError) {
        rd_kafka_flush(handle.pointer, -1)
        guard unplaced.isSeen.load(ordering: .relaxed) else { return }
        throw TransactionError(
            RD_KAFKA_RESP_ERR__INCONSISTENT,
            "a record was told as stored, but not where, in a transaction of \(id)",
            remedy: .recreate
        )
    }

    private func send(_ offsets: Offsets, by handle: KafkaHandle) throws(TransactionError) {
        try persist("send_offsets_to_transaction") {
            var list = PartitionList(offsets.entries.map { ($0.place, $0.progress.low) })
            for (index, entry) in offsets.entries.enumerated() {
                let progress = faults.breaks(.noBitmap) ? Progress(low: entry.progress.low) : entry.progress
                list.setMetadata(CommitMetadata.encode(progress), at: index)
            }
            return rd_kafka_send_offsets_to_transaction(
                handle.pointer,
                list.pointer,
                offsets.fence.pointer,
                Self.callMilliseconds
            )
        }
    }

    /// The producer is made anew in any case: what is left of a transaction that was given up must not reach
    /// the next one. That may be a record still on its way, a sequence number that no broker saw, or the
    /// transaction's end, told once more to a partition whose leader died. A new producer has an epoch of its
    /// own, and brokers take nothing more of the old one.
    private func recover(_ handle: KafkaHandle, from error: TransactionError) {
        metrics.aborted(by: KafkaError.name(error.code))
        logger.info(
            "Transaction given up",
            metadata: [
                "transactions": id, LogKeys.error: error.eventLogError.detail,
                "remedy": error.remedy.rawValue,
            ]
        )
        if error.remedy != .recreate { abort(handle) }
        destroy()
    }

    /// Readers wait behind an open transaction, and it may be a while until there is another one.
    private func abort(_ handle: KafkaHandle) {
        do throws(TransactionError) {
            try check(
                rd_kafka_abort_transaction(handle.pointer, Self.abortMilliseconds),
                "abort_transaction"
            )
        } catch {
            logger.warning(
                "Transaction not aborted in order",
                metadata: ["transactions": id, LogKeys.error: error.eventLogError.detail]
            )
        }
    }
}
