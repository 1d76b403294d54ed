import CRDKafka
import Dispatch
import Foundation
import KafkaTesting
import Pipeline
import PipelineTesting
import Synchronization
import Testing
import Topics

@testable import KafkaLog

private enum StormPlan {
    private static let turns = ProcessInfo.processInfo.environment["CHAOS_TURNS"].flatMap(Int.init)
    static let rounds = max(3, (turns ?? 0) / 500)

    /// It takes minutes: for `ops/do chaos`, which sets `CHAOS_TURNS=…`.
    static let isWanted: Bool = {
        if turns == nil { print("NOT CHECKED: transactions in a storm: for ops/do chaos") }
        return turns != nil && OwnBrokers.home != nil
    }()
}

/// Many producers write small transactions without a pause while brokers stop and are killed: many are under
/// way whenever one goes.
@Suite("Kafka: transactions while brokers go", .enabled(if: StormPlan.isWanted))
struct TransactionStormTests {
    @Test("each is whole or not there, as its producer was told, and there once")
    func storm() async throws {
        let seed =
            ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init) ?? .random(in: 1...999_999_999)
        let brokers = try OwnBrokers(try #require(OwnBrokers.home), count: 3)
        var isClean = false
        defer { brokers.end(isClean: isClean) }
        try await Threads.run { try brokers.start() }
        let storm = try Storm(brokers.bootstrap)
        try await storm.prepare()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<Storm.producers {
                group.addTask { await Threads.run { storm.write(number) } }
            }
            defer { storm.end() }
            try await strike(brokers, storm, seed: seed)
            storm.end()
            try await group.waitForAll()
        }
        let tally = try await storm.tally()
        print("transactions in a storm: SEED=\(seed), \(StormPlan.rounds) rounds, \(tally)")

        #expect(tally.problems.isEmpty, "SEED=\(seed)\n\(tally.problems.prefix(20).joined(separator: "\n"))")
        #expect(tally.committed > Storm.producers * StormPlan.rounds && tally.failed > 0, "too quiet")
        isClean = tally.problems.isEmpty
        await storm.close()
    }

    private func strike(_ brokers: OwnBrokers, _ storm: Storm, seed: UInt64) async throws {
        var chance = SplitMix(seed: seed)
        for round in 0..<StormPlan.rounds {
            let number = Int.random(in: 0..<brokers.count, using: &chance)
            let calm = Int.random(in: 500...2_500, using: &chance)
            let away = Int.random(in: 0...3_000, using: &chance)
            try await Task.sleep(for: .milliseconds(calm))
            try await Threads.run {
                switch round % 3 {
                case 0: try brokers.stop(number)
                case 1: try brokers.kill(number)
                default: try Self.killTwo(number, brokers, storm)
                }
                usleep(UInt32(away) * 1_000)
                try brokers.start()
            }
        }
    }

    /// Nothing can be written then, for longer than a record may wait. Between two transactions: Kafka itself
    /// may end one halfway when two of three brokers die in its midst (Kafka.md). `CHAOS_AT_ONCE=1` shows it.
    private static func killTwo(_ number: Int, _ brokers: OwnBrokers, _ storm: Storm) throws {
        let isInMidst = ProcessInfo.processInfo.environment["CHAOS_AT_ONCE"] == "1"
        if !isInMidst { storm.hush() }
        try brokers.kill(number)
        try brokers.kill((number + 1) % brokers.count)
        storm.go()
        sleep(5)
    }
}

/// Producers that note what they are told, and the brokers' word on it.
private final class Storm: Sendable {
    struct Tally: CustomStringConvertible {
        var committed = 0
        var failed = 0
        var unknown = 0
        var unplaced = 0
        var stuck = 0
        var problems: [String] = []

        var description: String {
            "\(committed) committed, \(failed) failed (\(unplaced) with a record of no known place), "
                + "\(unknown) in doubt (\(stuck) never answered), \(problems.count) problems"
        }
    }

    private enum Outcome: Sendable { case committed, failed, unknown }

    private struct Transaction: Hashable, Sendable {
        let producer: Int
        let number: Int
        /// Records to each topic: often several batches to one partition.
        var size: Int { 1 + number * 7 % 32 }
    }

    private struct Found {
        var indexes: Set<Int> = []
        var doubled = 0
    }

    static let producers = 24
    private static let group = "storm"
    private static let topics = ["left", "right"]
    /// As in the chaos suite: what hangs is given up soon.
    private static let properties = [
        "transaction.timeout.ms": "5000", "message.timeout.ms": "4000", "socket.timeout.ms": "4000",
    ]

    private let settings: KafkaSettings
    private let log: KafkaLog
    private let outcomes = Mutex<[Transaction: Outcome]>([:])
    private let isOver = Atomic(false)
    private let turnstile = Mutex<(isClosed: Bool, busy: Int)>((false, 0))
    /// Transactions with a record that was told as stored, but not where (`ImplicitAckTests`).
    private let unplaced = Atomic(0)
    private let stuck = Atomic(0)

    init(_ bootstrap: String) throws {
        settings = KafkaSettings(bootstrap: bootstrap, instance: "storm", properties: Self.properties)
        log = try KafkaLog(settings, chance: .system)
    }

    func prepare() async throws {
        try await log.prepare(Self.topics.map { KafkaBroker.topic($0, partitions: 8) })
        try await log.prepare([KafkaBroker.topic("in", partitions: Int32(Self.producers))])
    }

    func end() { isOver.store(true, ordering: .relaxed) }

    /// Begins no more transactions, and returns once those that were begun have ended.
    func hush() {
        turnstile.withLock { $0.isClosed = true }
        while turnstile.withLock({ $0.busy > 0 }) { usleep(5_000) }
    }

    func go() { turnstile.withLock { $0.isClosed = false } }

    private func enter() {
        while true {
            let isIn = turnstile.withLock { state in
                if !state.isClosed { state.busy += 1 }
                return !state.isClosed
            }
            if isIn { return }
            usleep(5_000)
        }
    }

    private func leave() { turnstile.withLock { $0.busy -= 1 } }

    func close() async { await log.close() }

    /// Until the end, and then once more, so that nothing of it is left open. For a thread of its own.
    ///
    /// Every other one takes a new name again and again: like a worker whose partitions were another's, it is
    /// one that the brokers know nothing of, also while leaders change.
    func write(_ number: Int) {
        let renewsEvery = number.isMultiple(of: 2) ? Int.max : 10
        var producer = TransactionalProducer("storm-\(number)", settings, reports: false)
        var transaction = 0
        while true {
            let isLast = isOver.load(ordering: .relaxed)
            transaction += 1
            enter()
            let answer = patiently(Transaction(producer: number, number: transaction), by: producer)
            leave()
            let outcome = answer ?? .unknown
            if isLast, outcome == .committed { break }
            if answer == nil {
                // As a worker does: the old one is shut out, and left behind.
                producer = TransactionalProducer("storm-\(number)", settings, reports: false)
            } else if transaction.isMultiple(of: renewsEvery) || outcome != .committed && renewsEvery != .max
            {
                producer.destroy()
                producer = TransactionalProducer("storm-\(number)-\(transaction)", settings, reports: false)
            }
            if outcome != .committed { usleep(50_000) }
        }
        producer.destroy()
    }

    /// Nil when librdkafka does not come back (`State.stuckCommit`).
    private func patiently(_ transaction: Transaction, by producer: TransactionalProducer) -> Outcome? {
        outcomes.withLock { $0[transaction] = .unknown }
        let hasEnded = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [self] in
            let outcome = commit(transaction, by: producer)
            outcomes.withLock { $0[transaction] = outcome }
            hasEnded.signal()
        }
        guard hasEnded.wait(timeout: .now() + 60) == .success else {
            stuck.add(1, ordering: .relaxed)
            return nil
        }
        return outcomes.withLock { $0[transaction] }
    }

    private func commit(_ transaction: Transaction, by producer: TransactionalProducer) -> Outcome {
        let entries = Self.topics.flatMap { topic in
            (0..<transaction.size).map { index in
                let text = "\(transaction.producer) \(transaction.number) \(index)"
                let record = NewRecord(topic: topic, key: "\(topic) \(text)", value: Array(text.utf8))
                return TransactionalProducer.Entry(record: record)
            }
        }
        var outcome = Outcome.committed
        do throws(TransactionalProducer.Failure) {
            guard let fence = GroupMetadata.open(Self.group) else { preconditionFailure("no metadata") }
            let place = TopicPartition("in", Int32(transaction.producer))
            let progress = Progress(low: Int64(transaction.number))
            try producer.commit(
                entries,
                TransactionalProducer.Offsets(entries: [(place, progress)], fence: fence)
            )
        } catch {
            outcome = error.isOutcomeUnknown ? .unknown : .failed
            if error.error.detail.contains("but not where") { unplaced.add(1, ordering: .relaxed) }
        }
        return outcome
    }

    /// Once whatever was left open has timed out.
    func tally() async throws -> Tally {
        try await Task.sleep(for: .seconds(8))
        let outcomes = outcomes.withLock { $0 }
        var tally = Tally()
        tally.unplaced = unplaced.load(ordering: .relaxed)
        tally.stuck = stuck.load(ordering: .relaxed)
        var found: [[Transaction: Found]] = []
        for topic in Self.topics { found.append(try await records(in: topic)) }
        for (transaction, outcome) in outcomes {
            let mine = found.map { $0[transaction] ?? Found() }
            let counts = mine.map(\.indexes.count)
            let isThere = counts.allSatisfy { $0 == transaction.size }
            let isAbsent = counts.allSatisfy { $0 == 0 }
            let isRight: Bool
            switch outcome {
            case .committed:
                tally.committed += 1
                isRight = isThere
            case .failed:
                tally.failed += 1
                isRight = isAbsent
            case .unknown:
                tally.unknown += 1
                isRight = isThere || isAbsent
            }
            guard !isRight || mine.contains(where: { $0.doubled > 0 }) else { continue }
            tally.problems.append(
                "\(transaction) was told as \(outcome): there are \(counts) of \(transaction.size) records, "
                    + "and \(mine.map(\.doubled)) twice"
            )
        }
        for (producer, offset) in try await offsets().enumerated() {
            let newest = found[0].keys.filter { $0.producer == producer }.map(\.number).max() ?? 0
            if offset != Int64(newest) {
                tally.problems.append("\(producer) has \(newest) transactions, and \(offset) as its offset")
            }
        }
        return tally
    }

    private func records(in topic: String) async throws -> [Transaction: Found] {
        var found: [Transaction: Found] = [:]
        for (partition, bounds) in try await log.bounds(of: topic).enumerated() {
            let place = TopicPartition(topic, Int32(partition))
            let end = ContinuousClock.now + .seconds(60)
            var offset: Int64 = 0
            while offset < bounds.next, .now < end {
                let page = try await log.read(
                    place,
                    from: offset,
                    recordsMax: 1_000,
                    wait: .milliseconds(500)
                )
                for record in page.records {
                    let numbers = String(decoding: record.value, as: UTF8.self).split(separator: " ")
                        .compactMap { Int($0) }
                    let transaction = Transaction(producer: numbers[0], number: numbers[1])
                    let isNew = found[transaction, default: Found()].indexes.insert(numbers[2]).inserted
                    if !isNew { found[transaction]?.doubled += 1 }
                }
                offset = page.next
            }
            try #require(offset >= bounds.next, "\(place)@\(offset) can not be read")
        }
        return found
    }

    private func offsets() async throws -> [Int64] {
        try await Threads.run { [settings] in
            let handle = try KafkaHandle(.member(group: Self.group, instance: nil), settings, .init())
            defer { handle.destroy(isClosing: false) }
            let places = (0..<Self.producers).map { TopicPartition("in", Int32($0)) }
            let committed = try MemberLoop.committed(places, by: handle, group: Self.group)
            return places.map { (committed[$0] ?? nil)?.low ?? -1 }
        }
    }
}
