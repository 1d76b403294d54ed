import Pipeline
import Synchronization

/// Several records, whole or not at all: in a transaction, which calls that have come together share.
final class KafkaBatchAppender: Sendable {
    private struct Job: Sendable {
        let records: [NewRecord]
        let done: @Sendable (Result<[RecordPosition], EventLogError>) -> Void
    }

    private static let sharedBytesMax = 4 << 20

    private let thread: JobThread<Job>

    init(_ settings: KafkaSettings) throws(EventLogError) {
        let producer = TransactionalProducer("penstock-append-\(settings.instance)", settings, reports: true)
        thread = try JobThread(
            "kafka-batches",
            work: { Self.work($0, producer) },
            tick: { producer.poll() },
            end: { producer.destroy() }
        )
    }

    func append(_ records: [NewRecord]) async throws(EventLogError) -> [RecordPosition] {
        try await thread.ask { Job(records: records, done: $0.give) }
    }

    func close(within limit: Duration) async -> Bool { await thread.stop(within: limit) }

    private static func work(_ jobs: [Job], _ producer: TransactionalProducer) {
        var rest = jobs[...]
        while !rest.isEmpty {
            var bytes = 0
            let shared = rest.prefix { job in
                defer { bytes += job.records.reduce(0) { $0 + $1.byteCount } }
                return bytes < sharedBytesMax
            }
            rest = rest.dropFirst(shared.count)
            let results = commit(Array(shared), producer)
            for (job, result) in zip(shared, results) { job.done(result) }
        }
    }

    /// When a record of one call is refused, the others' calls take effect without it.
    private static func commit(
        _ jobs: [Job],
        _ producer: TransactionalProducer
    ) -> [Result<[RecordPosition], EventLogError>] {
        let count = jobs.reduce(0) { $0 + $1.records.count }
        let collector = PositionCollector()
        let entries = jobs.flatMap(\.records).enumerated().map { index, record in
            TransactionalProducer.Entry(
                record: record,
                mark: DeliveryMark { result in
                    // Why one has none is told by the commit's own error.
                    if let position = try? result.get() { collector.set(position, at: index) }
                }
            )
        }
        do throws(TransactionalProducer.Failure) {
            try producer.commit(entries, nil)
        } catch {
            guard jobs.count > 1, !error.isOutcomeUnknown else {
                return jobs.map { _ in .failure(error.error) }
            }
            return jobs.flatMap { commit([$0], producer) }
        }
        guard let all = collector.all(count) else {
            let error = EventLogError(.unavailable, "the broker gave no positions for a committed append")
            return jobs.map { _ in .failure(error) }
        }
        var rest = all[...]
        return jobs.map { job in
            defer { rest = rest.dropFirst(job.records.count) }
            return .success(Array(rest.prefix(job.records.count)))
        }
    }
}

private final class PositionCollector: Sendable {
    private let positions = Mutex<[Int: RecordPosition]>([:])

    func set(_ position: RecordPosition, at index: Int) { positions.withLock { $0[index] = position } }

    func all(_ count: Int) -> [RecordPosition]? {
        positions.withLock { positions in
            let all = (0..<count).compactMap { positions[$0] }
            return all.count == count ? all : nil
        }
    }
}
