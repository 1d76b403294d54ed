/// What is done with the records of a topic: one record in, the records that follow out.
///
/// A stage never sees the log. It is called for one record of a key at a time, in order, and for many keys at
/// once.
package protocol RecordStage: Sendable {
    /// Nil when the assignment ended, or the task was cancelled, before the record was handled: nothing is
    /// done then, and the record will come again, here or elsewhere.
    func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]?

    /// What follows in place of outputs that the log can never store (`detail` is its word): the record kept
    /// where a person finds it.
    func refused(_ record: LogRecord, detail: String) -> [NewRecord]
}
