import JSON
package import Topics

extension DeadLetter {
    /// The record whole, with why it was given up.
    package init(
        _ record: LogRecord,
        topic: String,
        conversation: String?,
        eventID: String?,
        reason: String,
        detail: String,
        attempts: Int,
        worker: String,
        at time: Timestamp
    ) {
        self.init()
        self.topic = topic
        partition = Int(record.position.partition.partition)
        offset = record.offset
        self.conversation = conversation ?? ""
        self.eventID = eventID
        self.reason = reason
        self.detail = String(detail.prefix(2_000))
        self.attempts = attempts
        self.time = time
        self.worker = worker
        key = Base64.encode(record.key)
        headers = record.headers.map { DeadLetterHeader(name: $0.name, value: Base64.encode($0.value)) }
        payload = Base64.encode(record.value)
    }

    /// Never empty, so that it lands on a partition whoever wrote the record.
    package var recordKey: String { conversation.isEmpty ? "\(topic)/\(partition)" : conversation }
}
