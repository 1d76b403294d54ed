/// A struct whose JSON is an object: one table of its members serves reading, writing and the schema.
package protocol JSONObjectCoded: JSONCoded {
    /// Every member at its default.
    init()
    static var fields: JSONFields<Self> { get }
}

extension JSONObjectCoded {
    package init(from reader: inout JSONReader) throws(JSONError) {
        self.init()
        try Self.fields.read(&self, from: &reader)
    }

    package func write(to writer: inout JSONWriter) {
        Self.fields.write(self, to: &writer)
    }

    package static var schema: JSONSchema { fields.schema }
}

/// The members of an object, at most 64.
package struct JSONFields<Root: Sendable>: Sendable {
    private let fields: [JSONField<Root>]
    private let title: String
    private let doc: String
    /// A bit for each required member.
    private let required: UInt64

    package init(title: String, doc: String, _ fields: [JSONField<Root>]) {
        precondition(fields.count <= 64, "\(title) has more than 64 members")
        self.title = title
        self.doc = doc
        self.fields = fields.sorted { $0.name.canonicallyPrecedes($1.name) }
        required = self.fields.enumerated().reduce(0) {
            $1.element.isRequired ? $0 | 1 << UInt64($1.offset) : $0
        }
    }

    /// Unknown members are passed over, checked.
    func read(_ root: inout Root, from reader: inout JSONReader) throws(JSONError) {
        try reader.enter(0x7B, "{")
        var seen: UInt64 = 0
        var first = true
        while try reader.hasNext(first: first, closing: 0x7D) {
            first = false
            let name = try reader.stringBytes()
            try reader.expect(0x3A, ":")
            guard let index = index(of: name, in: reader) else {
                try reader.skip()
                continue
            }
            let bit: UInt64 = 1 << UInt64(index)
            do throws(JSONError) {
                guard seen & bit == 0 else { throw reader.error("the member is there twice") }
                seen |= bit
                try fields[index].read(&root, &reader)
            } catch {
                throw error.under(fields[index].name)
            }
        }
        let missing = required & ~seen
        guard missing == 0 else {
            throw reader.error("a required member is missing").under(
                fields[missing.trailingZeroBitCount].name
            )
        }
    }

    private func index(of name: StringToken, in reader: JSONReader) -> Int? {
        switch name {
        case .plain(let range):
            let name = reader.bytes[range]
            return fields.firstIndex { $0.nameBytes.count == name.count && $0.nameBytes.elementsEqual(name) }
        case .unescaped(let name): return fields.firstIndex { $0.nameBytes == name }
        }
    }

    func write(_ root: Root, to writer: inout JSONWriter) {
        writer.beginObject()
        for field in fields { field.write(root, &writer) }
        writer.endObject()
    }

    var schema: JSONSchema {
        .object(
            title: title,
            doc: doc,
            members: fields.map {
                JSONSchema.Member(name: $0.name, doc: $0.doc, isRequired: $0.isRequired, schema: $0.schema)
            }
        )
    }
}

/// One member of an object.
package struct JSONField<Root: Sendable>: Sendable {
    let name: String
    let nameBytes: [UInt8]
    let doc: String
    let isRequired: Bool
    let read: @Sendable (inout Root, inout JSONReader) throws(JSONError) -> Void
    let write: @Sendable (Root, inout JSONWriter) -> Void
    private let makeSchema: @Sendable () -> JSONSchema

    var schema: JSONSchema { makeSchema() }

    private init(
        _ name: String,
        _ doc: String,
        isRequired: Bool,
        read: @escaping @Sendable (inout Root, inout JSONReader) throws(JSONError) -> Void,
        write: @escaping @Sendable (Root, inout JSONWriter) -> Void,
        schema: @escaping @Sendable () -> JSONSchema
    ) {
        self.name = name
        self.doc = doc
        self.isRequired = isRequired
        self.read = read
        self.write = write
        makeSchema = schema
        nameBytes = Array(name.utf8)
    }

    /// Must be there.
    package static func required<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String
    ) -> Self {
        always(name, path, doc, isRequired: true)
    }

    /// May be missing, and then is what `init()` made it; always written.
    package static func defaulted<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String
    ) -> Self {
        always(name, path, doc, isRequired: false)
    }

    /// May be missing or null, and then is nil; not written when nil.
    package static func optional<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value?> & Sendable,
        _ doc: String
    ) -> Self {
        let prepared = JSONWriter.prepare(name)
        return Self(
            name,
            doc,
            isRequired: false,
            read: { root, reader throws(JSONError) in
                root[keyPath: path] = try reader.takeNull() ? nil : try Value(from: &reader)
            },
            write: { root, writer in
                guard let value = root[keyPath: path] else { return }
                writer.member(prepared)
                value.write(to: &writer)
            },
            schema: { Value.schema }
        )
    }

    private static func always<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String,
        isRequired: Bool
    ) -> Self {
        let prepared = JSONWriter.prepare(name)
        return Self(
            name,
            doc,
            isRequired: isRequired,
            read: { root, reader throws(JSONError) in root[keyPath: path] = try Value(from: &reader) },
            write: { root, writer in
                writer.member(prepared)
                root[keyPath: path].write(to: &writer)
            },
            schema: { Value.schema }
        )
    }
}
