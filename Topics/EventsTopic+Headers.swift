import JSON

extension EventsTopic {
    /// JSON Schema of the record's headers: CloudEvents' attributes in plain UTF-8.
    static var headers: JSONValue {
        let table: [(name: String, isRequired: Bool, doc: String)] = [
            ("content-type", true, "application/json; the value is the event's data."),
            ("ce_specversion", true, "1.0"),
            ("ce_id", true, "Unique per delivery; ours is a UUIDv7."),
            ("ce_source", true, "/adapters/<platform>/<account>, or a URI of your own."),
            ("ce_type", true, typeDoc),
            ("ce_subject", false, "The platform's id of the message."),
            (
                "ce_time", false,
                "When it happened, by the platform's clock, RFC 3339; recordedtime when missing."
            ),
            ("ce_dataschema", false, EventData.dataSchema),
            ("ce_partitionkey", false, "The record's key, which counts where they differ."),
            (
                "ce_dedupekey", false,
                "The same for every delivery of the same thing; ce:<source>:<id> when missing."
            ),
            ("ce_sessionkey", false, "The conversation, or one thread of it; the key when missing."),
            ("ce_recordedtime", false, "When it was received, RFC 3339; the record's time when missing."),
            ("ce_expirytime", false, "After this an answer is of no use, RFC 3339."),
            ("ce_traceparent", false, "W3C trace context."),
            ("ce_hop", false, "How many agents this has passed through, 0 to 65535."),
        ]
        var properties: [String: JSONValue] = [:]
        for header in table {
            properties[header.name] = ["type": "string", "description": .string(header.doc)]
        }
        return [
            "type": "object",
            "properties": .object(properties),
            "required": .array(table.filter(\.isRequired).map { .string($0.name) }),
        ]
    }

    private static var typeDoc: String {
        let words = EventType.allCases.map(\.rawValue).joined(separator: ", ")
        return "What happened, after the prefix \(EventType.prefix) (which may be missing): \(words)."
    }
}
