import JSON

/// The documents by which programs in other languages know our topics: a JSON Schema for each message, and
/// one AsyncAPI document. Made from the field tables, checked in under `Topics/Schemas`.
package enum SchemaDocuments {
    /// File names and contents, by name; the same bytes every time.
    package static var all: [(name: String, bytes: [UInt8])] {
        var files = Catalog.topics.map { topic in
            (name: fileName(topic.message), bytes: JSONText.pretty(document(of: topic.message)))
        }
        files.append((name: "asyncapi.json", bytes: JSONText.pretty(asyncAPI)))
        return files.sorted { $0.name < $1.name }
    }

    private static func fileName(_ message: any TopicMessage.Type) -> String {
        "\(message.schemaName).schema.json"
    }

    private static func document(of message: any TopicMessage.Type) -> JSONValue {
        guard case .object(var members) = message.schema.document else {
            preconditionFailure("\(message) is no object")
        }
        members["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        members["$id"] = .string(message.dataSchema)
        return .object(members)
    }
}

// AsyncAPI 3.0.
extension SchemaDocuments {
    private static var asyncAPI: JSONValue {
        var channels: [String: JSONValue] = [:]
        var operations: [String: JSONValue] = [:]
        var messages: [String: JSONValue] = [:]
        for topic in Catalog.topics {
            let name = topic.message.schemaName
            channels[topic.name] = channel(of: topic)
            messages[name] = message(of: topic)
            // From the view of a program beside Penstock: it may add events, and read everything.
            operations["read-\(topic.name)"] = operation("receive", topic)
            if topic.name == EventsTopic.topic.name { operations["append-events"] = operation("send", topic) }
        }
        return [
            "asyncapi": "3.0.0",
            "info": [
                "title": "Penstock topics",
                "version": .string(EventData.schemaVersion),
                "description": .string(
                    "What travels on the event log. Topic names are shown with the default prefix. Keys choose the "
                        + "partition by Kafka's murmur2 (librdkafka: partitioner=murmur2_random) and are never empty."
                ),
            ],
            "defaultContentType": "application/json",
            "channels": .object(channels),
            "operations": .object(operations),
            "components": ["messages": .object(messages)],
        ]
    }

    private static func channel(of topic: Topic) -> JSONValue {
        let name = topic.message.schemaName
        var configuration: [String: JSONValue] = [
            "cleanup.policy": .array(topic.cleanup.rawValue.split(separator: ",").map { .string(String($0)) })
        ]
        if let retention = topic.retention {
            configuration["retention.ms"] = .integer(retention.components.seconds * 1_000)
        }
        return [
            "address": .string("penstock.\(topic.name)"),
            "description": .string("\(topic.title). The key is the \(topic.key)."),
            "messages": [name: reference("components", "messages", name)],
            "bindings": [
                "kafka": [
                    "topic": .string("penstock.\(topic.name)"),
                    "partitions": .integer(Int64(topic.partitions)),
                    "topicConfiguration": .object(configuration),
                    "bindingVersion": "0.5.0",
                ]
            ],
        ]
    }

    private static func message(of topic: Topic) -> JSONValue {
        var message: [String: JSONValue] = [
            "name": .string(topic.message.schemaName),
            "title": .string(topic.title),
            "contentType": "application/json",
            "payload": [
                "schemaFormat": "application/schema+json;version=draft-2020-12",
                "schema": ["$ref": .string("./\(fileName(topic.message))")],
            ],
            "bindings": [
                "kafka": [
                    "key": ["type": "string", "minLength": 1, "description": .string(topic.key)],
                    "bindingVersion": "0.5.0",
                ]
            ],
        ]
        if topic.name == EventsTopic.topic.name { message["headers"] = EventsTopic.headers }
        return .object(message)
    }

    private static func operation(_ action: String, _ topic: Topic) -> JSONValue {
        [
            "action": .string(action),
            "channel": reference("channels", topic.name),
            "messages": [reference("channels", topic.name, "messages", topic.message.schemaName)],
        ]
    }

    private static func reference(_ path: String...) -> JSONValue {
        ["$ref": .string("#/" + path.joined(separator: "/"))]
    }
}
