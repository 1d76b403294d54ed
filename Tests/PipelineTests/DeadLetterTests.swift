import JSON
import Pipeline
import Testing
import Topics

@Suite("Dead letters")
struct DeadLetterTests {
    @Test("the largest event that is taken has a dead letter that the log takes")
    func largest() {
        let place = TopicPartition("penstock.events", 11)
        let headers = (0..<20).map { LogHeader("ce_name\($0)", String(repeating: "v", count: 500)) }
        let key = Array(String(repeating: "k", count: 1_000).utf8)
        let rest = headers.reduce(key.count) { $0 + $1.name.utf8.count + $1.value.count }
        let record = LogRecord(
            position: RecordPosition(place, .max),
            time: Timestamp(milliseconds: 0),
            key: key,
            headers: headers,
            value: [UInt8](repeating: 0xFF, count: Topic.recordBytesMax / 2 - rest)
        )

        let letter = DeadLetter(
            record,
            topic: "penstock.events",
            conversation: String(repeating: "c", count: 1_000),
            eventID: String(repeating: "e", count: 200),
            reason: "attempts_spent",
            // The longest that a letter keeps, of characters that JSON writes with six bytes each.
            detail: String(repeating: "\u{1}", count: 10_000),
            attempts: 5,
            worker: String(repeating: "w", count: 64),
            at: Timestamp(milliseconds: 0)
        )

        let output = NewRecord(topic: "penstock.deadletters", key: letter.recordKey, value: letter.json)
        #expect(output.byteCount < Topic.recordBytesMax - 4_096, "\(output.byteCount) bytes")
    }
}
