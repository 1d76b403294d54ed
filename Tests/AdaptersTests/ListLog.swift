import Pipeline
import Topics

/// An event log of one process's memory: enough to append, to read and to fail on demand.
actor ListLog: EventLog {
    nonisolated let identity = "list"
    nonisolated let recordBytesMax: Int
    private var records: [TopicPartition: [LogRecord]] = [:]
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var failure: EventLogError?

    init(recordBytesMax: Int = 1 << 20) {
        self.recordBytesMax = recordBytesMax
    }

    func fail(with error: EventLogError?) { failure = error }

    /// Everything of the topic, partition by partition.
    func all(_ topic: String) -> [LogRecord] {
        (0..<Topic.partitionsDefault).flatMap { records[TopicPartition(topic, $0)] ?? [] }
    }

    func prepare(_ topics: [Topic]) async throws(EventLogError) {}

    func append(_ new: [NewRecord]) async throws(EventLogError) -> [RecordPosition] {
        if let failure { throw failure }
        var positions: [RecordPosition] = []
        for record in new {
            let place = TopicPartition(
                record.topic,
                Partitioner.partition(of: record.key, among: Topic.partitionsDefault)
            )
            let position = RecordPosition(place, Int64(records[place]?.count ?? 0))
            positions.append(position)
            records[place, default: []].append(
                LogRecord(
                    position: position,
                    time: someTime,
                    key: record.key,
                    headers: record.headers,
                    value: record.value
                )
            )
        }
        for continuation in waiting { continuation.resume() }
        waiting = []
        return positions
    }

    func read(
        _ partition: TopicPartition,
        from offset: Int64,
        recordsMax: Int,
        wait: Duration
    ) async throws(EventLogError) -> LogPage {
        while true {
            let list = records[partition] ?? []
            let found = list.dropFirst(Int(offset)).prefix(recordsMax)
            if !found.isEmpty || wait == .zero || Task.isCancelled {
                return LogPage(records: Array(found), next: offset + Int64(found.count))
            }
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    /// Ends the reads that wait, of tasks that are cancelled.
    func wake() {
        for continuation in waiting { continuation.resume() }
        waiting = []
    }

    func bounds(of topic: String) async throws(EventLogError) -> [LogBounds] {
        if let failure { throw failure }
        return (0..<Topic.partitionsDefault).map { index in
            LogBounds(first: 0, next: Int64(records[TopicPartition(topic, index)]?.count ?? 0))
        }
    }

    func progress(of group: String, in topic: String) async throws(EventLogError) -> [Progress] { [] }

    func join(_ membership: GroupMembership) async throws(EventLogError) -> any LogConsumer {
        throw EventLogError(.invalid, "no groups here")
    }

    func check() async throws(EventLogError) {}

    func close() async {}
}
