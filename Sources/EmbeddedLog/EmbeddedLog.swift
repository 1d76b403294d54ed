import Glibc
package import Pipeline
import Synchronization
import Telemetry
package import Topics

/// The log in one folder: SQLite in WAL mode, every append and every commit synced to the disk.
///
/// Several processes of one machine may use the same folder at once; they share groups as Kafka's members do
/// (Decisions/0002).
package final class EmbeddedLog: EventLog {
    package let recordBytesMax = Topic.recordBytesMax
    package let identity: String
    let folder: String
    let time: TimeSource
    let writer: DatabaseQueue
    let reader: DatabaseQueue
    let bell: Bell
    let logger = Logger(label: "log")
    private let topics = Mutex<[String: StoredTopic]>([:])
    private let isClosed = Atomic<Bool>(false)
    let trimGate = TrimGate()
    let faults: FaultPoints

    struct StoredTopic: Sendable {
        let id: Int64
        let partitions: Int32
    }

    /// `folder`: created when it is not there.
    package init(
        folder: String,
        time: TimeSource,
        chance: ChanceSource,
        faults: FaultPoints = .none
    ) throws(EventLogError) {
        self.faults = faults
        self.folder = folder
        self.time = time
        for path in [folder, "\(folder)/members"] where mkdir(path, 0o700) != 0 && errno != EEXIST {
            throw EventLogError(
                .denied,
                "\(path): \(String(cString: strerror(errno))); the data folder must be writable"
            )
        }
        let path = "\(folder)/log.sqlite"
        let database = try Schema.open(path)
        try Schema.prepare(database, path: path, identity: chance.identifier())
        let identity = try database.run("SELECT value FROM meta WHERE name = 'identity'") { $0.text(0) }.first
        self.identity = identity ?? ""
        writer = DatabaseQueue(.writing, database: database, label: "penstock.log.writer")
        reader = DatabaseQueue(.reading, database: try Schema.open(path), label: "penstock.log.reader")
        bell = try Bell(folder: folder)
    }

    package func prepare(_ topics: [Topic]) async throws(EventLogError) {
        try await writer.run { database throws(EventLogError) in
            for topic in topics { try Self.prepare(topic, in: database) }
        }
    }

    private static func prepare(_ topic: Topic, in database: Database) throws(EventLogError) {
        let found = try database.run("SELECT id, partitions FROM topics WHERE name = ?", [.text(topic.name)])
        {
            StoredTopic(id: $0.integer(0), partitions: Int32(truncatingIfNeeded: $0.integer(1)))
        }.first
        let retention = topic.cleanup == .compact ? 0 : topic.retention?.milliseconds ?? 0
        if let found {
            guard found.partitions == topic.partitions else {
                throw EventLogError(
                    .mismatch,
                    "topic \(topic.name) has \(found.partitions) partitions, \(topic.partitions) are wanted; "
                        + "the number can not be changed, because keys would move: start a new data folder"
                )
            }
            try database.run(
                "UPDATE topics SET retention_ms = ? WHERE id = ?",
                [.integer(retention), .integer(found.id)]
            )
            return
        }
        try database.run(
            "INSERT INTO topics (name, partitions, cleanup, retention_ms) VALUES (?, ?, ?, ?)",
            [
                .text(topic.name), .integer(Int64(topic.partitions)), .text(topic.cleanup.rawValue),
                .integer(retention),
            ]
        )
        let id = try database.run("SELECT id FROM topics WHERE name = ?", [.text(topic.name)]) {
            $0.integer(0)
        }[0]
        for partition in 0..<topic.partitions {
            try database.run(
                "INSERT INTO partitions (topic, partition, next) VALUES (?, ?, 0)",
                [.integer(id), .integer(Int64(partition))]
            )
        }
    }

    package func append(_ records: [NewRecord]) async throws(EventLogError) -> [RecordPosition] {
        try check(records)
        let placed = try await place(records)
        let now = time.now()
        let positions = try await writer.run { database throws(EventLogError) in
            try Self.insert(placed, at: now, into: database)
        }
        bell.ring()
        return positions
    }

    package func read(
        _ partition: TopicPartition,
        from offset: Int64,
        recordsMax: Int,
        wait: Duration
    ) async throws(EventLogError) -> LogPage {
        let topic = try await stored(partition.topic)
        let watch = bell.watch()
        defer { bell.unwatch(watch) }
        let end = ContinuousClock.now + wait
        while true {
            let page = try await reader.run { database throws(EventLogError) in
                try Self.page(topic, partition, from: offset, recordsMax: recordsMax, in: database)
            }
            if !page.records.isEmpty || ContinuousClock.now >= end { return page }
            guard await watch.next() else { throw EventLogError(.closed, "the log was closed") }
        }
    }

    package func bounds(of topic: String) async throws(EventLogError) -> [LogBounds] {
        let stored = try await stored(topic)
        return try await reader.run { database throws(EventLogError) in
            try database.run(
                """
                SELECT next, (SELECT min(position) FROM records r
                              WHERE r.topic = p.topic AND r.partition = p.partition) AS first
                FROM partitions p WHERE topic = ? ORDER BY partition
                """,
                [.integer(stored.id)]
            ) { row in
                // No record kept: min() is null, which reads as 0; nothing is below next then.
                let next = row.integer(0)
                return LogBounds(first: row.isNull(1) ? next : row.integer(1), next: next)
            }
        }
    }

    package func progress(of group: String, in topic: String) async throws(EventLogError) -> [Progress] {
        let stored = try await stored(topic)
        let found = try await reader.run { database throws(EventLogError) in
            try Self.progress(of: group, topic: stored.id, in: database)
        }
        return (0..<stored.partitions).map { found[$0] ?? Progress(low: 0) }
    }

    package func join(_ membership: GroupMembership) async throws(EventLogError) -> any LogConsumer {
        var partitions: [TopicPartition: StoredTopic] = [:]
        for topic in membership.topics {
            let stored = try await stored(topic)
            for partition in 0..<stored.partitions { partitions[TopicPartition(topic, partition)] = stored }
        }
        let session = try Session(folder: "\(folder)/members")
        return EmbeddedConsumer(self, membership: membership, partitions: partitions, session: session)
    }

    package func check() async throws(EventLogError) {
        if isClosed.load(ordering: .acquiring) { throw EventLogError(.closed, "the log was closed") }
        let now = time.now().rfc3339
        try await writer.run { database throws(EventLogError) in
            try database.run("INSERT OR REPLACE INTO meta (name, value) VALUES ('checked', ?)", [.text(now)])
        }
    }

    package func close() async {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        bell.close()
    }
}

// Topics and records.
extension EmbeddedLog {
    func stored(_ topic: String) async throws(EventLogError) -> StoredTopic {
        if isClosed.load(ordering: .acquiring) { throw EventLogError(.closed, "the log was closed") }
        if let known = topics.withLock({ $0[topic] }) { return known }
        let found = try await reader.run { database throws(EventLogError) in
            try database.run("SELECT id, partitions FROM topics WHERE name = ?", [.text(topic)]) {
                StoredTopic(id: $0.integer(0), partitions: Int32(truncatingIfNeeded: $0.integer(1)))
            }.first
        }
        guard let found else { throw EventLogError(.invalid, "there is no topic \(topic)") }
        topics.withLock { $0[topic] = found }
        return found
    }

    func check(_ records: [NewRecord]) throws(EventLogError) {
        for record in records { try check(record) }
    }

    private static let pageBytesMax = 4 << 20

    struct Placed: Sendable {
        let record: NewRecord
        let topic: Int64
        let partition: Int32
    }

    func place(_ records: [NewRecord]) async throws(EventLogError) -> [Placed] {
        var placed: [Placed] = []
        placed.reserveCapacity(records.count)
        for record in records {
            let topic = try await stored(record.topic)
            let partition = Partitioner.partition(of: record.key, among: topic.partitions)
            placed.append(Placed(record: record, topic: topic.id, partition: partition))
        }
        return placed
    }

    static func insert(
        _ placed: [Placed],
        at now: Timestamp,
        into database: Database
    ) throws(EventLogError) -> [RecordPosition] {
        var positions: [RecordPosition] = []
        for item in placed {
            let offset = try database.run(
                "UPDATE partitions SET next = next + 1 WHERE topic = ? AND partition = ? RETURNING next - 1",
                [.integer(item.topic), .integer(Int64(item.partition))]
            ) { $0.integer(0) }[0]
            try database.run(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    .integer(item.topic), .integer(Int64(item.partition)), .integer(offset),
                    .integer(now.milliseconds), .blob(item.record.key),
                    .blob(HeaderBytes.encode(item.record.headers)), .blob(item.record.value),
                ]
            )
            positions.append(RecordPosition(TopicPartition(item.record.topic, item.partition), offset))
        }
        return positions
    }

    /// At most 4 MiB of values, however many records are asked for; at least one record when there is one.
    static func page(
        _ topic: StoredTopic,
        _ partition: TopicPartition,
        from offset: Int64,
        recordsMax: Int,
        in database: Database
    ) throws(EventLogError) -> LogPage {
        var bytes = 0
        let records = try database.run(
            """
            SELECT position, time, key, headers, value FROM records
            WHERE topic = ? AND partition = ? AND position >= ? ORDER BY position LIMIT ?
            """,
            [
                .integer(topic.id), .integer(Int64(partition.partition)), .integer(offset),
                .integer(Int64(recordsMax)),
            ],
            enough: { rows in
                bytes += rows.last?.value.count ?? 0
                return bytes > pageBytesMax
            }
        ) { row in
            LogRecord(
                position: RecordPosition(partition, row.integer(0)),
                time: Timestamp(milliseconds: row.integer(1)),
                key: row.blob(2),
                headers: HeaderBytes.decode(row.blob(3)),
                value: row.blob(4)
            )
        }
        return LogPage(records: records, next: records.last.map { $0.offset + 1 } ?? offset)
    }

    static func progress(
        of group: String,
        topic: Int64,
        in database: Database
    ) throws(EventLogError) -> [Int32: Progress] {
        let rows = try database.run(
            "SELECT partition, low, done FROM progress WHERE consumers = ? AND topic = ?",
            [.text(group), .integer(topic)]
        ) { (Int32(truncatingIfNeeded: $0.integer(0)), Progress(low: $0.integer(1), bitmap: $0.blob(2))) }
        return Dictionary(rows) { $1 }
    }

    static func store(
        _ progress: Progress,
        of group: String,
        topic: Int64,
        partition: Int32,
        in database: Database
    ) throws(EventLogError) {
        try database.run(
            """
            INSERT INTO progress VALUES (?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET low = excluded.low, done = excluded.done
            """,
            [
                .text(group), .integer(topic), .integer(Int64(partition)), .integer(progress.low),
                .blob(progress.bitmap),
            ]
        )
    }
}

/// Lets retention run once a minute.
final class TrimGate: Sendable {
    private let next = Mutex<Timestamp?>(nil)

    func isDue(at now: Timestamp) -> Bool {
        next.withLock { next in
            defer { if next.map({ now >= $0 }) ?? true { next = now + .seconds(60) } }
            return next.map { now >= $0 } ?? false
        }
    }
}
