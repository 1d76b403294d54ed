import Crypto
import JSON
import Topics

/// A platform's JSON, read without trusting its shape: what is missing or of another type is nil.
struct Payload {
    let value: JSONValue?

    init(_ value: JSONValue?) {
        self.value = value
    }

    /// Nil when the bytes are no JSON object.
    init?(object bytes: [UInt8]) {
        guard let value = Self.parsed(bytes) ?? LoneSurrogates.replaced(in: bytes).flatMap(Self.parsed),
            case .object = value
        else { return nil }
        self.value = value
    }

    private static func parsed(_ bytes: [UInt8]) -> JSONValue? {
        // That it is no JSON is all that anybody needs to know; more would quote the sender.
        try? JSONValue(json: bytes)
    }

    subscript(name: String) -> Payload { Payload(value?[name]) }

    var string: String? { value?.stringValue }

    /// A string that is not empty: platforms send "" for what they do not know.
    var word: String? {
        guard let string, !string.isEmpty else { return nil }
        return string
    }

    var integer: Int64? { value?.integerValue }

    var bool: Bool? { value?.boolValue }

    /// Empty when it is no array.
    var elements: [Payload] { value?.arrayValue?.map(Payload.init) ?? [] }

    /// Whether an object that the test accepts is anywhere in it, down to the depth.
    func contains(depthMax: Int, _ test: (Payload) -> Bool) -> Bool {
        guard depthMax > 0, let value else { return false }
        switch value {
        case .object(let members):
            return test(self)
                || members.values.contains { Payload($0).contains(depthMax: depthMax - 1, test) }
        case .array(let elements):
            return elements.contains { Payload($0).contains(depthMax: depthMax - 1, test) }
        default:
            return false
        }
    }

    /// For keeping what is not understood.
    var raw: EventRaw? {
        guard let bytes = value?.json else { return nil }
        let inline = bytes.count <= EventRaw.inlineBytesMax ? String(decoding: bytes, as: UTF8.self) : nil
        return EventRaw(sha256: SHA256.hex(bytes), size: bytes.count, inline: inline)
    }
}

extension JSONValue {
    /// Canonical.
    var text: String { String(decoding: json, as: UTF8.self) }
}
