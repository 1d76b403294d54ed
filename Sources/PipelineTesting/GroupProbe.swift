import Pipeline

/// A member of a group, driven step by step.
struct GroupProbe {
    let consumer: any LogConsumer
    let name: String
    private(set) var held: [TopicPartition: Assignment] = [:]
    private var waiting: [(assignment: Assignment, record: LogRecord)] = []

    init(_ consumer: any LogConsumer, _ name: String) {
        self.consumer = consumer
        self.name = name
    }

    /// Takes one thing that happened, or none within a second and a half.
    mutating func step() async throws {
        let consumer = consumer
        let result = await Deadline.run(.milliseconds(1_500), time: .system) {
            () -> Result<ConsumerEvent, any Error>? in
            do {
                return .success(try await consumer.next())
            } catch let error as EventLogError where error.kind == .closed {
                return nil
            } catch {
                return .failure(error)
            }
        }
        guard let event = try result.value?.get() else { return }
        switch event {
        case .assigned(let assignments):
            for assignment in assignments { held[assignment.partition] = assignment }
        case .records(let assignment, let records): waiting += records.map { (assignment, $0) }
        case .revoked(let assignments):
            for assignment in assignments { held[assignment.partition] = nil }
            await consumer.release(assignments)
        case .lost(let assignments): for assignment in assignments { held[assignment.partition] = nil }
        case .left: throw ConformanceFailure("\(name) has left by itself")
        }
    }

    /// The next records that are not done yet.
    mutating func take(
        _ count: Int,
        giveUp other: GroupProbe? = nil
    ) async throws -> [(assignment: Assignment, record: LogRecord)] {
        var taken: [(assignment: Assignment, record: LogRecord)] = []
        for _ in 0..<100 {
            while let next = waiting.first, taken.count < count {
                waiting.removeFirst()
                if !next.assignment.isDone(next.record.offset) { taken.append(next) }
            }
            if taken.count == count { return taken }
            try await step()
        }
        throw ConformanceFailure("\(name): \(taken.count) of \(count) records were delivered")
    }

    mutating func wait(_ condition: (GroupProbe) -> Bool) async throws {
        for _ in 0..<100 {
            if condition(self) { return }
            try await step()
        }
        throw ConformanceFailure("\(name) waited in vain; it holds \(held.count) partitions")
    }
}
