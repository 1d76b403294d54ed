package import JSON

/// Every topic there is. A new one is a file in this folder and a line here.
package enum Catalog {
    package static let topics: [Topic] = [
        EventsTopic.topic,
        TurnsTopic.topic,
        RepliesTopic.topic,
        ReceiptsTopic.topic,
        DeadLettersTopic.topic,
        TimersTopic.topic,
    ]
}

/// A topic's record value.
package protocol TopicMessage: JSONObjectCoded, Hashable {
    /// Major and minor version of its shape; minor versions only add fields.
    static var schemaVersion: String { get }
    /// Stem of the schema's file name and of its URN: `event`, `turn`, …
    static var schemaName: String { get }
}

extension TopicMessage {
    /// `urn:penstock:event:1.0`
    package static var dataSchema: String { "urn:penstock:\(schemaName):\(schemaVersion)" }
}
