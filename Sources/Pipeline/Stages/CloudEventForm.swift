package import JSON
import Topics

/// A CloudEvent as it came, before we know that it is an event of ours.
package struct CloudEventForm: Sendable {
    package enum Data: Sendable {
        case bytes([UInt8])
        case value(JSONValue)
        case none
    }

    /// By their names in lower case, without prefix.
    package var attributes: [String: String]
    package var data: Data

    package init(attributes: [String: String], data: Data) {
        self.attributes = attributes
        self.data = data
    }

    /// The JSON event format.
    package init(structured bytes: [UInt8]) throws(EventDecodingError) {
        try self.init(structured: try Self.parsed(bytes, as: "body"))
    }

    package init(structured value: JSONValue) throws(EventDecodingError) {
        guard case .object(var members) = value else { throw EventDecodingError("body", "not a JSON object") }
        guard members["data_base64"] == nil else {
            throw EventDecodingError("data_base64", "not supported; give the data as JSON in `data`")
        }
        data = members.removeValue(forKey: "data").map { .value($0) } ?? .none
        attributes = [:]
        for (name, value) in members {
            switch value {
            case .string(let text): attributes[name] = text
            case .integer(let integer): attributes[name] = "\(integer)"
            case .bool(let bool): attributes[name] = "\(bool)"
            case .null: break
            default: throw EventDecodingError(name, "an attribute is a string, an integer or a boolean")
            }
        }
    }

    package func required(_ name: String) throws(EventDecodingError) -> String {
        guard let value = attributes[name], !value.isEmpty else {
            throw EventDecodingError(name, "missing or empty")
        }
        return value
    }

    func checkVersion() throws(EventDecodingError) {
        guard try required("specversion").hasPrefix("1.") else {
            throw EventDecodingError("specversion", "must be 1.0")
        }
    }

    func time(_ name: String) throws(EventDecodingError) -> Timestamp? {
        guard let text = attributes[name] else { return nil }
        guard let time = Timestamp(rfc3339: text) else {
            throw EventDecodingError(name, "not an RFC 3339 time such as 2026-01-31T09:30:00Z")
        }
        return time
    }

    /// The data, whole as it is or with what a short form leaves out.
    func eventData(_ type: EventType) throws(EventDecodingError) -> EventData {
        let data: EventData
        if let whole = wholeData {
            data = whole
        } else {
            data = try Self.decoded(try filledData(type))
        }
        if type == .messageCreated || type == .messageEdited, data.message == nil {
            throw EventDecodingError("data.message", "missing")
        }
        return data
    }

    /// In one pass, when nothing is missing; nil when something is.
    private var wholeData: EventData? {
        guard case .bytes(let bytes) = data else { return nil }
        // Whatever is wrong is said by the slower way.
        return try? EventData(json: bytes)
    }

    private func filledData(_ type: EventType) throws(EventDecodingError) -> JSONValue {
        let value: JSONValue
        switch data {
        case .none: throw EventDecodingError("data", "missing")
        case .value(let given): value = given
        case .bytes(let bytes): value = try Self.parsed(bytes, as: "data")
        }
        guard case .object(var members) = value else { throw EventDecodingError("data", "not a JSON object") }
        let source = JSONValue.string(try required("source"))
        let id = JSONValue.string(try required("id"))
        try Self.fill("account", with: ["id": source], in: &members)
        try Self.fill("sender", with: ["kind": "human"], in: &members)
        try Self.fill("conversation", with: ["kind": "dm"], in: &members)
        if type == .messageCreated || type == .messageEdited || members["message"] != nil {
            try Self.fill("message", with: ["id": id, "addressed": "direct"], in: &members)
        }
        if members["platform"] == nil { members["platform"] = "webhook" }
        // Null means that nobody can answer; leaving it out means that the usual way is good.
        if members["reply"] == nil { members["reply"] = [:] }
        if members["reply"] != .null {
            try Self.fill("reply", with: ["handle": members["conversation"]?["id"] ?? ""], in: &members)
        }
        return .object(members)
    }

    /// Adds what the member's object lacks.
    private static func fill(
        _ name: String,
        with defaults: [String: JSONValue],
        in members: inout [String: JSONValue]
    ) throws(EventDecodingError) {
        guard case .object(let given)? = members[name] ?? .object([:]) else {
            throw EventDecodingError("data.\(name)", "not a JSON object")
        }
        members[name] = .object(defaults.merging(given) { $1 })
    }

    private static func parsed(_ bytes: [UInt8], as name: String) throws(EventDecodingError) -> JSONValue {
        do {
            return try JSONValue(json: bytes)
        } catch {
            throw EventDecodingError(error.path.isEmpty ? name : "\(name).\(error.path)", error.message)
        }
    }

    private static func decoded(_ value: JSONValue) throws(EventDecodingError) -> EventData {
        do {
            return try EventData(json: value.json)
        } catch {
            throw EventDecodingError(error.path.isEmpty ? "data" : "data.\(error.path)", error.message)
        }
    }
}
