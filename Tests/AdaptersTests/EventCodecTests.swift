import JSON
import Pipeline
import Testing
import Topics

@Suite("Events on the log")
struct EventCodecTests {
    @Test("an event read back is the event that was appended")
    func roundTrip() throws {
        var event = try #require(
            try SlackSupport.receive(SlackSupport.message(["text": "<@UBOT> Grüße 😀"])).events.first
        )
        event.hop = 2
        event.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        event.expirytime = someTime
        #expect(try InboundEvent(stored(event.record(topic: "penstock.events"))) == event)
    }

    @Test("attributes are plain UTF-8 headers, as the Kafka binding wants them")
    func headers() throws {
        let event = try #require(try SlackSupport.receive(SlackSupport.message()).events.first)
        let record = event.record(topic: "penstock.events")
        let headers = Dictionary(record.headers.map { ($0.name, String(decoding: $0.value, as: UTF8.self)) })
        { $1 }
        #expect(record.key == Array("slack:T1/A1:C1".utf8))
        #expect(headers["ce_specversion"] == "1.0")
        #expect(headers["content-type"] == "application/json")
        #expect(headers["ce_type"] == "dev.penstock.message.created")
        #expect(headers["ce_partitionkey"] == "slack:T1/A1:C1")
        #expect(headers["ce_datacontenttype"] == nil)
    }

    @Test(
        "a producer of another kind may leave out what can be known, in either mode",
        arguments: [false, true]
    )
    func foreign(isStructured: Bool) throws {
        let data: JSONValue = [
            "conversation": ["id": "#ops"], "sender": ["id": "bob"], "message": ["text": "hi"],
        ]
        let record: LogRecord
        if isStructured {
            let value: JSONValue = [
                "specversion": "1.0", "id": "1", "source": "/irc", "type": "message.created", "data": data,
            ]
            record = made(
                [LogHeader("content-type", "application/CloudEvents+json; charset=utf-8")],
                value.json,
                key: "webhook:/irc:#ops"
            )
        } else {
            let headers = [
                ("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/irc"),
                ("ce_type", "message.created"),
            ]
            record = made(headers.map { LogHeader($0.0, $0.1) }, data.json, key: "webhook:/irc:#ops")
        }
        let event = try InboundEvent(record)
        #expect(event.type == .messageCreated)
        #expect(event.dedupekey == "ce:/irc:1")
        #expect(event.partitionkey == "webhook:/irc:#ops")
        #expect(event.sessionkey == "webhook:/irc:#ops")
        #expect(event.recordedtime == someTime)
        #expect(event.data.message?.text == "hi")
    }

    @Test("the record's key decides which conversation it is, because the order does")
    func keyDecides() throws {
        let event = try #require(try SlackSupport.receive(SlackSupport.message()).events.first)
        var record = stored(event.record(topic: "penstock.events"))
        record.key = Array("slack:T1/A1:C2".utf8)
        #expect(try InboundEvent(record).partitionkey == "slack:T1/A1:C2")
    }

    @Test(
        "what cannot be read is named",
        arguments: [
            ("ce_id", "id"), ("ce_source", "source"), ("ce_type", "type"), ("ce_specversion", "specversion"),
        ]
    )
    func missing(header: String, field: String) throws {
        let event = try #require(try SlackSupport.receive(SlackSupport.message()).events.first)
        var record = stored(event.record(topic: "penstock.events"))
        record.headers.removeAll { $0.name == header }
        #expect(failure(record)?.field == field)
        record.headers.append(LogHeader(header, [0xFF]))
        #expect(failure(record)?.field == field)
    }

    @Test(
        "no value, no JSON, another shape: each is said",
        arguments: [("", "data"), ("{", "data"), ("{}", "data.conversation.id")]
    )
    func values(value: String, field: String) throws {
        let event = try #require(try SlackSupport.receive(SlackSupport.message()).events.first)
        var record = stored(event.record(topic: "penstock.events"))
        record.value = Array(value.utf8)
        #expect(failure(record)?.field == field)
    }

    @Test("a type of a later version is kept as unsupported")
    func unknownType() throws {
        let event = try #require(try SlackSupport.receive(SlackSupport.message()).events.first)
        var record = stored(event.record(topic: "penstock.events"))
        record.headers.removeAll { $0.name == "ce_type" }
        record.headers.append(LogHeader("ce_type", "dev.penstock.message.pinned"))
        #expect(try InboundEvent(record).type == .unknown)
    }

    private func failure(_ record: LogRecord) -> EventDecodingError? {
        do throws(EventDecodingError) {
            _ = try InboundEvent(record)
            return nil
        } catch {
            return error
        }
    }

    private func stored(_ record: NewRecord) -> LogRecord {
        LogRecord(
            position: RecordPosition(TopicPartition(record.topic, 0), 0),
            time: someTime,
            key: record.key,
            headers: record.headers,
            value: record.value
        )
    }

    private func made(_ headers: [LogHeader], _ value: [UInt8], key: String) -> LogRecord {
        LogRecord(
            position: RecordPosition(TopicPartition("penstock.events", 0), 0),
            time: someTime,
            key: Array(key.utf8),
            headers: headers,
            value: value
        )
    }
}
