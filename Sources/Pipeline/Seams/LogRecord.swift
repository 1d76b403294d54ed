package import Topics

package struct TopicPartition: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let topic: String
    package let partition: Int32

    package init(_ topic: String, _ partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.topic, left.partition) < (right.topic, right.partition)
    }

    package var description: String { "\(topic)/\(partition)" }
}

package struct RecordPosition: Sendable, Hashable, CustomStringConvertible {
    package let partition: TopicPartition
    package let offset: Int64

    package init(_ partition: TopicPartition, _ offset: Int64) {
        self.partition = partition
        self.offset = offset
    }

    package var description: String { "\(partition)@\(offset)" }
}

package struct LogHeader: Sendable, Hashable {
    package let name: String
    package let value: [UInt8]

    package init(_ name: String, _ value: [UInt8]) {
        self.name = name
        self.value = value
    }

    package init(_ name: String, _ value: String) {
        self.init(name, Array(value.utf8))
    }
}

/// A record to be appended; the key decides the partition and is never empty.
package struct NewRecord: Sendable, Hashable {
    package var topic: String
    package var key: [UInt8]
    package var headers: [LogHeader]
    package var value: [UInt8]

    package init(topic: String, key: String, headers: [LogHeader] = [], value: [UInt8]) {
        self.topic = topic
        self.key = Array(key.utf8)
        self.headers = headers
        self.value = value
    }

    /// Key, value and headers together, as `EventLog.recordBytesMax` counts them.
    package var byteCount: Int {
        headers.reduce(key.count + value.count) { $0 + $1.name.utf8.count + $1.value.count }
    }
}

package struct LogRecord: Sendable, Hashable {
    package var position: RecordPosition
    /// When it was appended, by the log's clock.
    package var time: Timestamp
    /// May be empty in a record that is not ours.
    package var key: [UInt8]
    package var headers: [LogHeader]
    package var value: [UInt8]

    package init(
        position: RecordPosition,
        time: Timestamp,
        key: [UInt8],
        headers: [LogHeader],
        value: [UInt8]
    ) {
        self.position = position
        self.time = time
        self.key = key
        self.headers = headers
        self.value = value
    }

    package var offset: Int64 { position.offset }

    /// The first header of that name.
    package func header(_ name: String) -> [UInt8]? {
        headers.first { $0.name == name }?.value
    }
}

package struct LogPage: Sendable {
    package var records: [LogRecord]
    package var next: Int64

    package init(records: [LogRecord], next: Int64) {
        self.records = records
        self.next = next
    }
}

package struct LogBounds: Sendable, Hashable {
    package var first: Int64
    package var next: Int64

    package init(first: Int64, next: Int64) {
        self.first = first
        self.next = next
    }
}
