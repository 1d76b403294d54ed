package import JSON
package import Topics

/// One message of a conversation's history, for the page.
package struct ChatMessage: Sendable, Hashable {
    package enum Role: String, Sendable {
        case user
        case agent
    }

    package var role: Role
    package var text: String
    package var time: Timestamp
    /// The event's id of a person's message, the reply's id of the agent's; lets the page see what it has
    /// already.
    package var id: String?

    package init(role: Role, text: String, time: Timestamp, id: String?) {
        self.role = role
        self.text = text
        self.time = time
        self.id = id
    }

    package var json: JSONValue {
        var members: [String: JSONValue] = [
            "role": .string(role.rawValue), "text": .string(text), "time": .string(time.rfc3339),
        ]
        members["id"] = id.map { .string($0) }
        return .object(members)
    }
}
