import Pipeline
import Topics

/// A log and its one member, with nothing to say: a test's own says what it is about.
protocol StandInLog: EventLog, LogConsumer {}

extension StandInLog {
    var identity: String { "log" }
    var recordBytesMax: Int { 1_000 }
    func join(_ membership: GroupMembership) async throws(EventLogError) -> any LogConsumer { self }
    func commit(_ completions: [Completion]) async throws(EventLogError) -> [Completion] { completions }
    func pause(_ assignment: Assignment) async {}
    func resume(_ assignment: Assignment) async {}
    func release(_ assignments: [Assignment]) async {}
    func prepare(_ topics: [Topic]) async throws(EventLogError) {}
    func append(_ records: [NewRecord]) async throws(EventLogError) -> [RecordPosition] { [] }
    func read(
        _ partition: TopicPartition,
        from offset: Int64,
        recordsMax: Int,
        wait: Duration
    ) async throws(EventLogError) -> LogPage { LogPage(records: [], next: offset) }
    func bounds(of topic: String) async throws(EventLogError) -> [LogBounds] { [] }
    func progress(of group: String, in topic: String) async throws(EventLogError) -> [Progress] { [] }
    func check() async throws(EventLogError) {}
    func close() async {}
}
