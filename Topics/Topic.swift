/// One topic: its shape on the broker and the message it carries.
package struct Topic: Sendable {
    package enum Cleanup: String, Sendable {
        case delete
        case compact
        case compactAndDelete = "compact,delete"
    }

    /// Without the prefix; `penstock.` unless set otherwise.
    package let name: String
    package let title: String
    package let partitions: Int32
    package let cleanup: Cleanup
    /// How long records are kept; nil for ever. Meaningless where only compacted.
    package let retention: Duration?
    /// What the key is, in words.
    package let key: String
    package let message: any TopicMessage.Type

    package static let partitionsDefault: Int32 = 12
    /// Most bytes of one record: key, value and headers together. An event may take half of it, because its
    /// dead letter carries it whole, as Base64.
    package static let recordBytesMax = 2 << 20

    package init(
        name: String,
        title: String,
        cleanup: Cleanup,
        retention: Duration?,
        key: String,
        message: any TopicMessage.Type,
        partitions: Int32 = Topic.partitionsDefault
    ) {
        self.name = name
        self.title = title
        self.partitions = partitions
        self.cleanup = cleanup
        self.retention = retention
        self.key = key
        self.message = message
    }

    /// The same topic under its name on a log; `partitions`: nil for its own.
    package func prefixed(_ prefix: String, partitions: Int32? = nil) -> Topic {
        Topic(
            name: prefix + name,
            title: title,
            cleanup: cleanup,
            retention: retention,
            key: key,
            message: message,
            partitions: partitions ?? self.partitions
        )
    }
}
