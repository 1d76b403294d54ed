import JSON
import Topics

/// Makes the store anew from the log's topics: every turn's slot, transcript segments, and the files that
/// travelled with turns.
///
/// Puts what is missing and what is damaged, and leaves alone what is there; so it may be stopped and started
/// again, and goes on where it was. No worker may run meanwhile: `StoreGuard` sees to that.
package struct LogRebuild: Sendable {
    package struct Report: Sendable, Hashable {
        package var records: Int64 = 0
        package var created: Int64 = 0
        package var repaired: Int64 = 0
        package var unchanged: Int64 = 0
        /// Turns that are in the store otherwise than the log says, and those that can not be made; the first
        /// 100 in words.
        package var problems: Int64 = 0
        package var problemWords: [String] = []
        /// Turns whose replies or dead letters the log has no more: their slots lack them.
        package var withoutOutbox: Int64 = 0
        /// Files too large to travel, which the store has lost.
        package var filesLost: Int64 = 0
        package var filesLostWords: [String] = []

        package init() {}

        mutating func problem(_ words: String) {
            problems += 1
            if problemWords.count < 100 { problemWords.append(words) }
        }

        package static func += (left: inout Self, right: Self) {
            left.records += right.records
            left.created += right.created
            left.repaired += right.repaired
            left.unchanged += right.unchanged
            left.problems += right.problems
            left.problemWords += right.problemWords.prefix(100 - left.problemWords.count)
            left.withoutOutbox += right.withoutOutbox
            left.filesLost += right.filesLost
            left.filesLostWords += right.filesLostWords.prefix(max(0, 100 - left.filesLostWords.count))
        }
    }

    private let log: any EventLog
    private let topicPrefix: String
    private let objects: any ObjectStore
    private let restorer: TurnRestorer
    /// Records between two notes of where it is.
    private let noteEvery: Int64

    package init(log: any EventLog, topicPrefix: String, store: any ObjectStore, noteEvery: Int64 = 500) {
        self.log = log
        self.topicPrefix = topicPrefix
        self.noteEvery = noteEvery
        objects = store
        restorer = TurnRestorer(store)
    }

    /// How many records there are to read, those done before included.
    package func total() async throws -> Int64 {
        try await log.bounds(of: topicPrefix + TurnsTopic.topic.name).reduce(0) { $0 + $1.next - $1.first }
    }

    /// `only`: this conversation alone, from the start. `progress` gets the number of records just read.
    package func run(
        only conversation: String?,
        progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> Report {
        let name = topicPrefix + TurnsTopic.topic.name
        let bounds = try await log.bounds(of: name)
        var partitions = Array(0..<Int32(bounds.count))
        if let conversation {
            let key = Array(conversation.utf8)
            partitions = [Partitioner.partition(of: key, among: Int32(bounds.count))]
        } else {
            try await StoreGuard.beginRebuild(objects)
        }
        let report = try await withThrowingTaskGroup(of: Report.self) { group in
            for number in partitions {
                group.addTask {
                    try await rebuild(number, bounds[Int(number)], only: conversation, progress: progress)
                }
            }
            return try await group.reduce(into: Report()) { $0 += $1 }
        }
        if conversation == nil {
            for number in partitions { try await objects.delete(noteKey(number)) }
            try await StoreGuard.endRebuild(objects)
        }
        return report
    }

    private func rebuild(
        _ number: Int32,
        _ bounds: LogBounds,
        only conversation: String?,
        progress: @Sendable (Int64) -> Void
    ) async throws -> Report {
        let start = conversation == nil ? max(try await noted(number), bounds.first) : bounds.first
        if start > bounds.first { progress(start - bounds.first) }
        var records = PartitionReader(log, partition(TurnsTopic.topic, number), from: start, end: bounds.next)
        var replies: EmittedRecords?
        var letters: EmittedRecords?
        var report = Report()
        var heads = RebuiltHeads()
        while let record = try await records.next() {
            try Task.checkCancellation()
            if replies == nil {
                replies = try await emitted(RepliesTopic.topic, number, since: record.time)
                letters = try await emitted(DeadLettersTopic.topic, number, since: record.time)
            }
            report.records += 1
            progress(1)
            if var turn = LoggedTurn(record), conversation == nil || turn.conversation == conversation {
                turn.replies = try await replies?.take(turn) ?? []
                turn.letters = try await letters?.takeLetter(turn) ?? []
                try await put(turn, &heads, &report)
            }
            if conversation == nil, report.records % noteEvery == 0 {
                try await note(number, record.offset + 1)
            }
        }
        return report
    }

    private func put(_ turn: LoggedTurn, _ heads: inout RebuiltHeads, _ report: inout Report) async throws {
        do {
            let previous = try await heads.previous(of: turn, in: restorer.store)
            let (slot, outcome, filesLeft) = try await restorer.put(turn, after: previous)
            heads.set(slot)
            if !turn.isWhole { report.withoutOutbox += 1 }
            if filesLeft > 0 { try await count(slot, &report) }
            switch outcome {
            case .created: report.created += 1
            case .repaired: report.repaired += 1
            case .alreadyThere: report.unchanged += 1
            case .differs:
                report.problem("\(turn.conversation) turn \(turn.turn): another is in the store; left alone")
            }
        } catch let error as RebuildError {
            report.problem(error.detail)
        } catch let error as JSONError {
            report.problem(
                "\(turn.conversation) turn \(turn.turn): what it changed is not readable: \(error)"
            )
        }
    }

    /// Which of the files that did not travel are not in the store either.
    private func count(_ slot: Slot, _ report: inout Report) async throws {
        guard let hash = slot.state.workspace else { return }
        let place = "\(slot.state.conversation) turn \(slot.state.turn)"
        guard let body = try await readable(hash), let tree = try? WorkspaceTree(json: body) else {
            // Without the tree nobody knows how many.
            report.filesLost += 1
            report.filesLostWords.append("\(place): all files, their tree \(hash) is lost")
            return
        }
        for entry in tree.entries {
            guard case .file(_, let size, let blob) = entry.node, size > CarriedBlob.bytesMax,
                try await readable(blob) == nil
            else { continue }
            report.filesLost += 1
            if report.filesLostWords.count < 100 {
                report.filesLostWords.append("\(place): \(printable(entry.path)), \(size) bytes")
            }
        }
    }

    private func readable(_ hash: String) async throws(TurnFailure) -> [UInt8]? {
        do throws(TurnFailure) {
            return try await restorer.store.blob(hash)
        } catch {
            guard error.kind == .unreadable else { throw error }
            return nil
        }
    }

    private func partition(_ topic: Topic, _ number: Int32) -> TopicPartition {
        TopicPartition(topicPrefix + topic.name, number)
    }

    private func emitted(_ topic: Topic, _ number: Int32, since time: Timestamp) async throws
        -> EmittedRecords
    {
        let partition = partition(topic, number)
        let bounds = try await log.bounds(of: partition.topic)[Int(number)]
        // Appended in the same transaction, so at nearly the same time.
        let start = try await log.offset(in: partition, at: time + .seconds(-300), within: bounds)
        return EmittedRecords(PartitionReader(log, partition, from: start, end: bounds.next))
    }

    // MARK: Going on after a stop

    private func noteKey(_ number: Int32) -> String { "rebuild/\(log.identity)/\(number)" }

    private func noted(_ number: Int32) async throws -> Int64 {
        guard let object = try await objects.get(noteKey(number)) else { return 0 }
        // A note that can not be read costs time only.
        return (try? JSONValue(json: object.body))?["next"]?.integerValue ?? 0
    }

    private func note(_ number: Int32, _ next: Int64) async throws {
        let body = JSONValue.object(["next": .integer(next)]).json
        _ = try await objects.put(noteKey(number), body, if: .always)
    }
}

/// The newest slot rebuilt of each conversation, as long as there is room; else the store has it.
private struct RebuiltHeads {
    private static let most = 2_000
    private var slots: [String: Slot] = [:]

    func previous(of turn: LoggedTurn, in store: TurnStore) async throws(TurnFailure) -> Slot? {
        guard turn.turn > 1, turn.record.forkedFrom == nil else { return nil }
        if let slot = slots[turn.conversation], slot.state.turn == turn.turn - 1 { return slot }
        do throws(TurnFailure) {
            return try await store.slot(turn.turn - 1, of: ConversationKeys(turn.conversation))
        } catch {
            guard error.kind == .unreadable else { throw error }
            return nil
        }
    }

    mutating func set(_ slot: Slot) {
        if slots.count >= Self.most { slots.removeAll(keepingCapacity: true) }
        slots[slot.state.conversation] = slot
    }
}

extension EmittedRecords {
    mutating func take(_ turn: LoggedTurn) async throws(EventLogError) -> [[UInt8]] {
        try await take(turn.conversation, turn.turn, wanted: turn.record.replies.count)
    }

    mutating func takeLetter(_ turn: LoggedTurn) async throws(EventLogError) -> [[UInt8]] {
        try await take(turn.conversation, turn.turn, wanted: turn.record.outcome == .dead ? 1 : 0)
    }
}
