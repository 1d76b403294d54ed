import Topics

extension EventLog {
    /// The first offset of a partition whose record was appended at `time` or later, by bisection; the
    /// partition's end when there is none.
    func offset(
        in partition: TopicPartition,
        at time: Timestamp,
        within bounds: LogBounds
    ) async throws(EventLogError) -> Int64 {
        var low = bounds.first
        var high = bounds.next
        while low < high {
            let middle = low + (high - low) / 2
            let page = try await read(partition, from: middle, recordsMax: 1, wait: .zero)
            guard let record = page.records.first, record.offset < high else {
                high = middle
                continue
            }
            if record.time < time { low = record.offset + 1 } else { high = middle }
        }
        return low
    }
}

/// Reads one partition onwards, to where it ended when this began.
struct PartitionReader {
    let log: any EventLog
    let partition: TopicPartition
    private(set) var offset: Int64
    let end: Int64
    private var page: [LogRecord] = []
    private var index = 0

    static let pageRecords = 200

    init(_ log: any EventLog, _ partition: TopicPartition, from offset: Int64, end: Int64) {
        self.log = log
        self.partition = partition
        self.offset = offset
        self.end = end
    }

    /// Nil at the end.
    mutating func next() async throws(EventLogError) -> LogRecord? {
        while index == page.count {
            guard offset < end else { return nil }
            let read = try await log.read(partition, from: offset, recordsMax: Self.pageRecords, wait: .zero)
            // A page without records and without progress is the end of what there is.
            guard !read.records.isEmpty || read.next > offset else { return nil }
            page = read.records.filter { $0.offset < end }
            index = 0
            offset = max(read.next, offset)
        }
        defer { index += 1 }
        return page[index]
    }
}

/// Finds what a turn emitted beside its record. Its records of one conversation come in the order of their
/// turns, and of others nearly so: what is read too early is kept for later, up to a limit.
struct EmittedRecords {
    private struct Key: Hashable {
        let conversation: [UInt8]
        let turn: Int64
    }

    private var reader: PartitionReader
    private var waiting: [Key: [[UInt8]]] = [:]
    private var order: [Key] = []
    private let waitingMax: Int

    init(_ reader: PartitionReader, waitingMax: Int = 20_000) {
        self.reader = reader
        self.waitingMax = waitingMax
    }

    /// The values of this turn, in order; fewer than wanted when the log has them no more.
    mutating func take(
        _ conversation: String,
        _ turn: Int64,
        wanted: Int
    ) async throws(EventLogError) -> [[UInt8]] {
        guard wanted > 0 else { return [] }
        let key = Key(conversation: Array(conversation.utf8), turn: turn)
        // What comes for other turns meanwhile is counted: one that is lost must not read all there is.
        var passed = 0
        while (waiting[key]?.count ?? 0) < wanted, passed < waitingMax, let record = try await reader.next() {
            guard let text = record.header("x-turn"),
                let number = Int64(String(decoding: text, as: UTF8.self))
            else { continue }
            passed += 1
            let place = Key(conversation: record.key, turn: number)
            if waiting[place] == nil { order.append(place) }
            waiting[place, default: []].append(record.value)
            forget()
        }
        return waiting.removeValue(forKey: key) ?? []
    }

    private mutating func forget() {
        guard order.count > 2 * waitingMax else { return }
        for key in order.prefix(waitingMax) { waiting[key] = nil }
        order.removeFirst(waitingMax)
    }
}
