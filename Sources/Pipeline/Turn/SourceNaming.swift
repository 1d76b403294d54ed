import JSON
package import Topics

/// Between topics' plain names and their names on this log, and from slots' records to the log's.
package struct SourceNaming: Sendable, Hashable {
    /// `penstock.` unless set otherwise.
    package let prefix: String
    /// `EventLog.identity`
    package let log: String

    package init(prefix: String, log: String) {
        self.prefix = prefix
        self.log = log
    }

    package func full(_ topic: String) -> String { prefix + topic }

    package func plain(_ topic: String) -> String {
        topic.hasPrefix(prefix) ? String(topic.dropFirst(prefix.count)) : topic
    }

    package func source(of record: LogRecord, _ event: InboundEvent) -> EventSource {
        EventSource(
            log: log,
            topic: plain(record.position.partition.topic),
            partition: record.position.partition.partition,
            offset: record.offset,
            eventID: event.id,
            dedupekey: event.dedupekey
        )
    }

    package func record(_ outbox: OutboxRecord) -> NewRecord {
        NewRecord(
            topic: full(outbox.topic),
            key: outbox.key,
            headers: outbox.headers.sorted { $0.key < $1.key }.map { LogHeader($0.key, $0.value) }
                + [LogHeader("content-type", "application/json")],
            value: outbox.value.bytes
        )
    }

    /// With headers that say which input and which turn it came from, for recovery and for people.
    package func record(_ outbox: OutboxRecord, from input: LogRecord, turn: Int64, stateHash: String)
        -> NewRecord
    {
        var record = record(outbox)
        let place = input.position.partition
        record.headers += [
            LogHeader(
                "x-source",
                "\(plain(place.topic))/\(place.partition)/\(input.offset)"
            ),
            LogHeader("x-turn", "\(turn)"),
            LogHeader("x-state", stateHash),
        ]
        return record
    }
}
