import CRDKafka
import Pipeline
import Synchronization

/// Reads partitions from given offsets, without a group. Many partitions at a time, one request at a time of
/// each; a partition stays open between requests that follow one another.
final class KafkaReader: Sendable {
    struct Request: Sendable {
        let place: TopicPartition
        let from: Int64
        let recordsMax: Int
        /// Answered at the latest when the reader has come so far, if not nil.
        let target: Int64?
        let deadline: ContinuousClock.Instant
        let cancellation: Cancellation
        let done: @Sendable (Result<LogPage, EventLogError>) -> Void
    }

    final class Cancellation: Sendable {
        private let flag = Atomic<Bool>(false)
        var isSet: Bool { flag.load(ordering: .acquiring) }
        func set() { flag.store(true, ordering: .releasing) }
    }

    private struct State {
        var requests: [Request] = []
        var isClosed = false
    }

    private let handle: KafkaHandle
    // Used by the reader's thread, but for `rd_kafka_queue_yield`, which is for any.
    nonisolated(unsafe) private let queue: OpaquePointer
    private let state = Mutex(State())
    private let over = Gate()

    init(_ settings: KafkaSettings) throws(EventLogError) {
        handle = try KafkaHandle(.reader, settings)
        guard let queue = rd_kafka_queue_new(handle.pointer) else {
            preconditionFailure("no memory for a queue")
        }
        self.queue = queue
        try KafkaThread.start("kafka-reader") { [self] in serve() }
    }

    func submit(_ request: Request) {
        let isTaken = state.withLock { state in
            guard !state.isClosed else { return false }
            state.requests.append(request)
            return true
        }
        guard isTaken else { return request.done(.failure(EventLogError(.closed, "the log was closed"))) }
        rd_kafka_queue_yield(queue)
    }

    /// Looks at the requests' cancellations.
    func wake() {
        let isOpen = state.withLock { !$0.isClosed }
        if isOpen { rd_kafka_queue_yield(queue) }
    }

    func close(within limit: Duration) async -> Bool {
        state.withLock { $0.isClosed = true }
        return await over.wait(within: limit)
    }

    private func serve() {
        let loop = ReaderLoop(handle, queue)
        while true {
            let (requests, isClosed) = state.withLock { state in
                defer { state.requests = [] }
                return (state.requests, state.isClosed)
            }
            for request in requests { loop.take(request) }
            if isClosed { break }
            loop.turn()
        }
        loop.end()
        rd_kafka_queue_destroy(queue)
        handle.destroy(isClosing: false)
        over.open()
    }
}

/// What the reader's thread knows; it never leaves that thread.
private final class ReaderLoop {
    private struct Cursor {
        let topic: OpaquePointer
        /// Every record from here to `next` is in `buffer`.
        var start: Int64
        var next: Int64
        var buffer: [LogRecord] = []
        var bytes = 0
        var isFetching = true
        var requests: [KafkaReader.Request] = []
        var used: ContinuousClock.Instant
    }

    private static let bufferBytesMax = 4 << 20
    private static let idleMax: Duration = .seconds(15)

    private let handle: KafkaHandle
    private let queue: OpaquePointer
    private var cursors: [TopicPartition: Cursor] = [:]

    init(_ handle: KafkaHandle, _ queue: OpaquePointer) {
        self.handle = handle
        self.queue = queue
    }

    func take(_ request: KafkaReader.Request) {
        if cursors[request.place] == nil {
            guard let topic = rd_kafka_topic_new(handle.pointer, request.place.topic, nil) else {
                let error = KafkaError.error(rd_kafka_last_error(), "reading \(request.place)")
                return request.done(.failure(error))
            }
            cursors[request.place] = Cursor(
                topic: topic,
                start: -1,
                next: -1,
                isFetching: false,
                used: .now
            )
        }
        cursors[request.place]?.requests.append(request)
        if cursors[request.place]?.requests.count == 1 { begin(request) }
    }

    /// Brings the partition's cursor to the request's offset.
    private func begin(_ request: KafkaReader.Request) {
        guard var cursor = cursors[request.place] else { return }
        cursor.used = .now
        if request.from >= cursor.start, request.from <= cursor.next {
            let skipped = cursor.buffer.prefix { $0.offset < request.from }
            cursor.bytes -= skipped.reduce(0) { $0 + $1.value.count }
            cursor.buffer.removeFirst(skipped.count)
            cursor.start = request.from
            if cursor.buffer.isEmpty, !cursor.isFetching { fetch(&cursor, request.place, from: cursor.next) }
        } else {
            if cursor.isFetching { rd_kafka_consume_stop(cursor.topic, request.place.partition) }
            cursor.buffer = []
            cursor.bytes = 0
            cursor.start = request.from
            cursor.next = request.from
            fetch(&cursor, request.place, from: request.from)
        }
        cursors[request.place] = cursor
    }

    private func fetch(_ cursor: inout Cursor, _ place: TopicPartition, from offset: Int64) {
        cursor.isFetching = rd_kafka_consume_start_queue(cursor.topic, place.partition, offset, queue) == 0
    }

    /// Waits for messages a little, takes them, answers what can be answered.
    func turn() {
        rd_kafka_poll(handle.pointer, 0)
        var timeout = Int32(100)
        let now = ContinuousClock.now
        for cursor in cursors.values {
            guard let request = cursor.requests.first else { continue }
            if !cursor.buffer.isEmpty { timeout = 0 }
            timeout = min(timeout, Int32(clamping: max(1, (request.deadline - now).milliseconds)))
        }
        var count = 0
        while let message = rd_kafka_consume_queue(queue, count == 0 ? timeout : 0) {
            take(UnsafePointer(message))
            rd_kafka_message_destroy(message)
            count += 1
            if count == 1_000 { break }
        }
        for place in cursors.keys { answer(place) }
    }

    private func take(_ message: UnsafePointer<rd_kafka_message_t>) {
        let place = KafkaRecords.place(of: message)
        guard var cursor = cursors[place] else { return }
        switch message.pointee.err {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
            guard message.pointee.offset >= cursor.next else { return }
            let record = KafkaRecords.record(message, in: place)
            cursor.buffer.append(record)
            cursor.bytes += record.value.count
            cursor.next = record.offset + 1
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: cursor.next = max(cursor.next, message.pointee.offset)
        default:
            let error = KafkaError.error(
                message.pointee.err,
                "reading \(place)",
                KafkaRecords.words(of: message)
            )
            for request in cursor.requests { request.done(.failure(error)) }
            cursor.requests = []
        }
        cursors[place] = cursor
    }

    private func answer(_ place: TopicPartition) {
        let now = ContinuousClock.now
        while var cursor = cursors[place], let request = cursor.requests.first {
            let cancelled = Result<LogPage, EventLogError>.failure(EventLogError(.closed, "cancelled"))
            guard let page = request.cancellation.isSet ? cancelled : page(&cursor, request, now) else {
                break
            }
            cursor.requests.removeFirst()
            cursor.used = now
            cursors[place] = cursor
            request.done(page)
            if let next = cursor.requests.first { begin(next) }
        }
        tidy(place, now)
    }

    private func page(
        _ cursor: inout Cursor,
        _ request: KafkaReader.Request,
        _ now: ContinuousClock.Instant
    ) -> Result<LogPage, EventLogError>? {
        if !cursor.buffer.isEmpty {
            var bytes = 0
            let records = Array(
                cursor.buffer.prefix(request.recordsMax).prefix { record in
                    defer { bytes += record.value.count }
                    return bytes < Self.bufferBytesMax
                }
            )
            cursor.buffer.removeFirst(records.count)
            cursor.bytes -= records.reduce(0) { $0 + $1.value.count }
            cursor.start = (records.last?.offset ?? request.from - 1) + 1
            return .success(LogPage(records: records, next: cursor.start))
        }
        if let target = request.target, cursor.next < target {
            guard now >= request.deadline else { return nil }
            return .failure(EventLogError(.unavailable, "reading \(request.place): the broker gave nothing"))
        }
        guard request.target != nil || now >= request.deadline else { return nil }
        cursor.start = max(request.from, cursor.next)
        return .success(LogPage(records: [], next: cursor.start))
    }

    /// Fetches nothing ahead of nobody.
    private func tidy(_ place: TopicPartition, _ now: ContinuousClock.Instant) {
        guard var cursor = cursors[place], cursor.requests.isEmpty else { return }
        if now - cursor.used > Self.idleMax {
            if cursor.isFetching { rd_kafka_consume_stop(cursor.topic, place.partition) }
            rd_kafka_topic_destroy(cursor.topic)
            cursors[place] = nil
        } else if cursor.bytes > Self.bufferBytesMax, cursor.isFetching {
            rd_kafka_consume_stop(cursor.topic, place.partition)
            cursor.isFetching = false
            cursors[place] = cursor
        }
    }

    func end() {
        for (place, cursor) in cursors {
            for request in cursor.requests {
                request.done(.failure(EventLogError(.closed, "the log was closed")))
            }
            if cursor.isFetching { rd_kafka_consume_stop(cursor.topic, place.partition) }
            rd_kafka_topic_destroy(cursor.topic)
        }
        cursors = [:]
    }
}
