import JSON
import Synchronization
package import Topics

/// Committed replies as they appear on the log, by conversation: one reader a partition, however many watch.
package final class ReplyFeed: Sendable {
    /// Beyond this many unread replies a watcher is sent back to the log.
    static let backlogMax = 256
    private static let pageRecords = 500

    private struct State {
        var watchers: [String: [UInt64: ReplyWatcher]] = [:]
        var nextWatcher: UInt64 = 0
    }

    private let log: any EventLog
    /// With the prefix.
    private let topic: String
    private let time: TimeSource
    private let state = Mutex(State())

    package init(log: any EventLog, topicPrefix: String, time: TimeSource) {
        self.log = log
        topic = topicPrefix + RepliesTopic.topic.name
        self.time = time
    }

    /// Reads the topic's partitions from their ends until cancelled.
    package func run() async throws {
        let bounds = try await log.bounds(of: topic)
        state.withLock { state in
            for watchers in state.watchers.values {
                for watcher in watchers.values { watcher.lookAgain() }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in bounds.indices {
                group.addTask { try await self.tail(Int32(index), from: bounds[index].next) }
            }
            try await group.waitForAll()
        }
    }

    private func tail(_ partition: Int32, from start: Int64) async throws {
        var next = start
        while !Task.isCancelled {
            do {
                let page = try await log.read(
                    TopicPartition(topic, partition),
                    from: next,
                    recordsMax: Self.pageRecords,
                    wait: .seconds(10)
                )
                next = page.next
                announce(page)
            } catch {
                guard error.kind == .unavailable else { throw error }
                try await time.sleep(.seconds(1))
            }
        }
    }

    private func announce(_ page: LogPage) {
        let woken = state.withLock { state in
            var woken: [ReplyWatcher] = []
            for record in page.records {
                guard let watchers = state.watchers[String(decoding: record.key, as: UTF8.self)] else {
                    continue
                }
                for watcher in watchers.values {
                    watcher.take(record)
                    woken.append(watcher)
                }
            }
            return woken
        }
        for watcher in woken { watcher.signal.raise() }
    }

    /// Where a reply committed from now on will be at or after.
    package func end(of conversation: String) async throws(EventLogError) -> Int64 {
        let partition = partition(of: conversation)
        let bounds = try await log.bounds(of: topic)
        guard bounds.indices.contains(Int(partition)) else {
            throw EventLogError(.invalid, "\(topic) has no partition \(partition)")
        }
        return bounds[Int(partition)].next
    }

    /// Watches the conversation's replies from the offset on; the signal is raised when there are some.
    package func watch(_ conversation: String, from offset: Int64, with signal: Signal) -> ReplyWatcher {
        let partition = TopicPartition(topic, partition(of: conversation))
        return state.withLock { state in
            let watcher = ReplyWatcher(
                id: state.nextWatcher,
                conversation: conversation,
                partition: partition,
                from: max(0, offset),
                log: log,
                signal: signal
            )
            state.nextWatcher += 1
            state.watchers[conversation, default: [:]][watcher.id] = watcher
            return watcher
        }
    }

    package func unwatch(_ watcher: ReplyWatcher) {
        state.withLock { state in
            state.watchers[watcher.conversation]?[watcher.id] = nil
            if state.watchers[watcher.conversation]?.isEmpty == true {
                state.watchers[watcher.conversation] = nil
            }
        }
    }

    private func partition(of conversation: String) -> Int32 {
        Partitioner.partition(of: Array(conversation.utf8), among: RepliesTopic.topic.partitions)
    }
}

package struct PlacedReply: Sendable, Hashable {
    package let offset: Int64
    package let reply: Reply
}

/// One reader of one conversation's replies. `next` is for one task.
package final class ReplyWatcher: Sendable {
    fileprivate let id: UInt64
    package let conversation: String
    fileprivate let signal: Signal
    private let partition: TopicPartition
    private let log: any EventLog
    private let state: Mutex<State>

    private struct State {
        /// Everything of the conversation before it has been handed over.
        var next: Int64
        /// Replies that the feed announced, rising, when nothing between `next` and them is missing.
        var announced: [LogRecord] = []
        /// There may be replies on the log that were not announced.
        var mustScan = true
    }

    fileprivate init(
        id: UInt64,
        conversation: String,
        partition: TopicPartition,
        from offset: Int64,
        log: any EventLog,
        signal: Signal
    ) {
        self.id = id
        self.conversation = conversation
        self.partition = partition
        self.log = log
        self.signal = signal
        state = Mutex(State(next: offset))
    }

    /// Where to go on watching from, for a later watcher.
    package var position: Int64 { state.withLock { $0.next } }

    fileprivate func take(_ record: LogRecord) {
        state.withLock { state in
            // A scan that is still to come will find it on the log.
            guard !state.mustScan else { return }
            if state.announced.count >= ReplyFeed.backlogMax {
                state.announced = []
                state.mustScan = true
            } else {
                state.announced.append(record)
            }
        }
    }

    /// Announcements may have been missed.
    fileprivate func lookAgain() {
        state.withLock { $0.mustScan = true }
        signal.raise()
    }

    /// What is there and was not handed over yet, in order; empty when there is nothing. Does not wait.
    package func next() async throws(EventLogError) -> [PlacedReply] {
        if state.withLock({ $0.mustScan }) { return try await scan() }
        let (from, records) = state.withLock { state in
            let taken = (state.next, state.announced)
            if let last = state.announced.last { state.next = max(state.next, last.offset + 1) }
            state.announced = []
            return taken
        }
        return decoded(records.filter { $0.offset >= from })
    }

    /// Reads the log from `next` to its end; the feed announces what comes after.
    private func scan() async throws(EventLogError) -> [PlacedReply] {
        var offset = state.withLock { state in
            // Announcements from here on are kept: each is either read below, or comes after what is read.
            state.mustScan = false
            state.announced = []
            return state.next
        }
        var found: [LogRecord] = []
        do throws(EventLogError) {
            let end = try await log.bounds(of: partition.topic)[Int(partition.partition)].next
            var isStuck = false
            while offset < end, !isStuck, found.count < ReplyFeed.backlogMax {
                let page = try await log.read(partition, from: offset, recordsMax: 500, wait: .zero)
                found += page.records.filter { $0.key.elementsEqual(conversation.utf8) }
                // Before the end but not readable: a transaction is open, and its end will be announced.
                isStuck = page.next <= offset
                offset = page.next
            }
            leave(at: offset, isWhole: offset >= end, isStuck: isStuck)
        } catch {
            state.withLock { $0.mustScan = true }
            throw error
        }
        return decoded(found)
    }

    private func leave(at offset: Int64, isWhole: Bool, isStuck: Bool) {
        let hasMore = state.withLock { state in
            state.next = max(state.next, offset)
            if !isWhole { state.mustScan = true }
            return !state.announced.isEmpty || !isWhole && !isStuck
        }
        if hasMore { signal.raise() }
    }

    /// A record that is no reply is passed over: it stays on the log for those who look after it.
    private func decoded(_ records: [LogRecord]) -> [PlacedReply] {
        records.compactMap { record in
            // A reply of a later version that this program cannot read must not stop those after it.
            guard let reply = try? Reply(json: record.value) else { return nil }
            return PlacedReply(offset: record.offset, reply: reply)
        }
    }
}
