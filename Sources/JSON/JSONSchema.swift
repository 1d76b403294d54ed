/// What a JSON value looks like, and its document in JSON Schema 2020-12.
@usableFromInline
package indirect enum JSONSchema: Sendable, Hashable {
    @usableFromInline
    package struct Member: Sendable, Hashable {
        @usableFromInline package let name: String
        @usableFromInline package let doc: String
        @usableFromInline package let isRequired: Bool
        @usableFromInline package let schema: JSONSchema
    }

    case object(title: String, doc: String, members: [Member])
    case array(of: JSONSchema)
    case map(of: JSONSchema)
    case string(format: String? = nil)
    /// Open: more words may come, and readers must live with those they do not know.
    case words([String], isOpen: Bool)
    case integer
    case number
    case boolean
    case any

    package var document: JSONValue {
        switch self {
        case .object(let title, let doc, let members):
            var properties: [String: JSONValue] = [:]
            for member in members { properties[member.name] = member.schema.document(with: member.doc) }
            return .object([
                "type": "object",
                "title": .string(title),
                "description": .string(doc),
                "properties": .object(properties),
                "required": .array(members.filter(\.isRequired).map { .string($0.name) }),
            ])
        case .array(let element): return .object(["type": "array", "items": element.document])
        case .map(let value): return .object(["type": "object", "additionalProperties": value.document])
        case .string(let format):
            var document: [String: JSONValue] = ["type": "string"]
            document["format"] = format.map { .string($0) }
            return .object(document)
        case .words(let words, let isOpen):
            let list = JSONValue.array(words.map { .string($0) })
            return .object(["type": "string", isOpen ? "examples" : "enum": list])
        case .integer: return .object(["type": "integer"])
        case .number: return .object(["type": "number"])
        case .boolean: return .object(["type": "boolean"])
        case .any: return .object([:])
        }
    }

    private func document(with doc: String) -> JSONValue {
        guard case .object(var members) = document else { return document }
        members["description"] = .string(doc)
        return .object(members)
    }
}
