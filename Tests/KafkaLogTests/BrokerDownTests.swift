import Foundation
import KafkaLog
import KafkaTesting
import Pipeline
import Synchronization
import Testing
import Topics

@Suite("A broker that is not there, dies, or stops answering", .enabled(if: OwnBrokers.home != nil))
struct BrokerDownTests {
    /// Again for as long as the log is not available, a minute at most.
    private func stubbornly<Value>(_ body: () async throws -> Value) async throws -> Value {
        let end = ContinuousClock.now + .seconds(60)
        while true {
            do {
                return try await body()
            } catch let error as EventLogError where error.kind == .unavailable && .now < end {
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private func record(_ topic: String, _ value: UInt8) -> NewRecord {
        NewRecord(topic: topic, key: "k", value: [value])
    }

    /// The member's next record.
    private func next(_ member: any LogConsumer) async throws -> (Assignment, LogRecord) {
        while true {
            // An error here is a broker that does not answer; the member goes on by itself.
            guard case .records(let assignment, let records)? = try? await member.next() else { continue }
            guard let record = records.first(where: { !assignment.isDone($0.offset) }) else { continue }
            return (assignment, record)
        }
    }

    @Test("what is lost comes back by itself; nothing is lost or doubled")
    func comesAndGoes() async throws {
        let broker = try OwnBrokers(try #require(OwnBrokers.home))
        defer { broker.end() }
        let settings = KafkaSettings(
            bootstrap: broker.bootstrap,
            instance: "down",
            properties: ["message.timeout.ms": "3000"]
        )
        let freeze = Freeze(broker)
        let log = try KafkaLog(settings, chance: .system, faults: freeze.faults)

        // Not there yet: said with its address, and no longer than it takes to find out.
        let absent = await #expect(throws: EventLogError.self) {
            try await log.prepare([KafkaBroker.topic("in")])
        }
        #expect(absent?.kind == .unavailable)
        #expect(absent?.detail.contains(broker.bootstrap) == true)
        try await Threads.run { try broker.start() }
        try await stubbornly { try await log.prepare([KafkaBroker.topic("in"), KafkaBroker.topic("out")]) }
        _ = try await stubbornly { try await log.append([record("in", 1)]) }
        let member = try await log.join(GroupMembership(group: "g", topics: ["in"], member: "a"))
        let first = try await next(member)

        // Dead: nothing is taken, and that is no secret.
        try await Threads.run { try broker.kill() }
        let refused = await #expect(throws: EventLogError.self) {
            _ = try await log.append([record("in", 2)])
        }
        let unready = await #expect(throws: EventLogError.self) { try await log.check() }
        #expect(refused?.kind == .unavailable && unready?.kind == .unavailable)
        await expectNoEffect(of: first, by: member)
        try await Threads.run { try broker.start() }
        try await stubbornly { try await log.check() }
        try await finish(first, by: member)

        // Stopped when only the commit itself is left, for longer than a transaction may last.
        _ = try await stubbornly { try await log.append([record("in", 3)]) }
        let second = try await next(member)
        freeze.arm()
        async let finished: Void = finish(second, by: member)
        try await Task.sleep(for: .seconds(13))
        try broker.signal(SIGCONT)
        try await finished
        #expect(freeze.hasStruck)

        // The append that was refused may have been stored: its caller was not told that it was not.
        let inputs = try await TroubleTests.page(log, "in", count: 2)
        while try await log.progress(of: "g", in: "in")[0].low < inputs.count {
            try await finish(try await next(member), by: member)
        }
        await member.leave()
        let outputs = try await TroubleTests.page(log, "out", count: inputs.count)
        #expect(inputs.map(\.value).filter { $0 != [2] } == [[1], [3]])
        #expect(outputs.map(\.value) == inputs.map(\.value))
        await log.close()
    }

    /// The partition may be lost by now: then the commit leaves it out.
    private func expectNoEffect(of input: (Assignment, LogRecord), by member: any LogConsumer) async {
        do {
            #expect(try await member.commit([completion(input)]).isEmpty)
        } catch {
            #expect(error.kind == .unavailable)
        }
    }

    /// Commits it, or what comes in its place when the partition was lost meanwhile.
    private func finish(_ input: (Assignment, LogRecord), by member: any LogConsumer) async throws {
        var input = input
        while try await stubbornly({ try await member.commit([completion(input)]) }).isEmpty {
            input = try await next(member)
        }
    }

    /// Stops the broker once, just before a commit.
    private final class Freeze: Sendable {
        private let broker: OwnBrokers
        private let state = Mutex<(isArmed: Bool, hasStruck: Bool)>((false, false))

        init(_ broker: OwnBrokers) {
            self.broker = broker
        }

        func arm() { state.withLock { $0.isArmed = true } }
        var hasStruck: Bool { state.withLock { $0.hasStruck } }

        var faults: FaultPoints {
            FaultPoints(broken: [], reached: { _ in }) { [self] point in
                guard point == .commitBefore else { return }
                state.withLock { state in
                    guard state.isArmed, (try? broker.signal(SIGSTOP)) != nil else { return }
                    state = (false, true)
                }
            }
        }
    }

    private func completion(_ input: (Assignment, LogRecord)) -> Completion {
        let output = NewRecord(topic: "out", key: "k", value: input.1.value)
        return Completion(assignment: input.0, offset: input.1.offset, outputs: [output])
    }
}
