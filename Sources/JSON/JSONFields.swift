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
// A class, as its members: a table of structs would be copied, all their references counted, for every member
// of every object that is written.
package final class JSONFields<Root: Sendable>: Sendable {
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
        var next = 0
        var first = true
        while try reader.hasNext(first: first, closing: 0x7D) {
            first = false
            let name = try reader.stringBytes()
            try reader.expect(0x3A, ":")
            guard let index = index(of: name, from: next, in: reader) else {
                try reader.skip()
                continue
            }
            next = index + 1
            let bit: UInt64 = 1 << UInt64(index)
            do throws(JSONError) {
                guard seen & bit == 0 else { throw reader.error("the member is there twice") }
                seen |= bit
                try fields[index].read(into: &root, from: &reader)
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

    /// Looks first from where it is if the members are in canonical order.
    private func index(of name: StringToken, from next: Int, in reader: JSONReader) -> Int? {
        for index in next..<fields.count where fields[index].isNamed(name, in: reader) { return index }
        return (0..<next).first { fields[$0].isNamed(name, in: reader) }
    }

    func write(_ root: Root, to writer: inout JSONWriter) {
        writer.beginObject()
        withUnsafePointer(to: root) { root in
            fields.withUnsafeBufferPointer { fields in
                for index in fields.indices { fields[index].write(of: root, to: &writer) }
            }
        }
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

/// One member of an object; made by `required`, `defaulted` and `optional`.
// Safe: nothing in it or its subclasses changes.
package class JSONField<Root: Sendable>: @unchecked Sendable {
    let name: String
    let doc: String
    let isRequired: Bool
    /// With its quotes and colon.
    let prepared: [UInt8]
    private let nameBytes: [UInt8]

    fileprivate init(_ name: String, _ doc: String, isRequired: Bool) {
        self.name = name
        self.doc = doc
        self.isRequired = isRequired
        nameBytes = Array(name.utf8)
        prepared = JSONWriter.prepare(name)
    }

    func isNamed(_ name: StringToken, in reader: JSONReader) -> Bool {
        switch name {
        case .plain(let range):
            range.count == nameBytes.count && reader.bytes[range].elementsEqual(nameBytes)
        case .unescaped(let name): name == nameBytes
        }
    }

    func read(into root: inout Root, from reader: inout JSONReader) throws(JSONError) {
        preconditionFailure("a member of no kind")
    }

    func write(of root: UnsafePointer<Root>, to writer: inout JSONWriter) {
        preconditionFailure("a member of no kind")
    }

    var schema: JSONSchema { preconditionFailure("a member of no kind") }

    /// Must be there.
    package static func required<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String
    ) -> JSONField<Root> {
        JSONValueField(name, path, doc, isRequired: true)
    }

    /// May be missing, and then is what `init()` made it; always written.
    package static func defaulted<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String
    ) -> JSONField<Root> {
        JSONValueField(name, path, doc, isRequired: false)
    }

    /// May be missing or null, and then is nil; not written when nil.
    package static func optional<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value?> & Sendable,
        _ doc: String
    ) -> JSONField<Root> {
        JSONOptionalField(name, path, doc)
    }
}

// Safe: as its superclass.
private final class JSONValueField<Root: Sendable, Value: JSONCoded>: JSONField<Root>, @unchecked Sendable {
    private let place: JSONPlace<Root, Value>

    init(_ name: String, _ path: WritableKeyPath<Root, Value>, _ doc: String, isRequired: Bool) {
        place = JSONPlace(path)
        super.init(name, doc, isRequired: isRequired)
    }

    override func read(into root: inout Root, from reader: inout JSONReader) throws(JSONError) {
        place.set(try Value(from: &reader), in: &root)
    }

    override func write(of root: UnsafePointer<Root>, to writer: inout JSONWriter) {
        writer.member(prepared)
        place.with(root) { $0.pointee.write(to: &writer) }
    }

    override var schema: JSONSchema { Value.schema }
}

// Safe: as its superclass.
private final class JSONOptionalField<Root: Sendable, Value: JSONCoded>: JSONField<Root>,
    @unchecked Sendable
{
    private let place: JSONPlace<Root, Value?>

    init(_ name: String, _ path: WritableKeyPath<Root, Value?>, _ doc: String) {
        place = JSONPlace(path)
        super.init(name, doc, isRequired: false)
    }

    override func read(into root: inout Root, from reader: inout JSONReader) throws(JSONError) {
        place.set(try reader.takeNull() ? nil : try Value(from: &reader), in: &root)
    }

    override func write(of root: UnsafePointer<Root>, to writer: inout JSONWriter) {
        place.with(root) { value in
            guard let value = value.pointee else { return }
            writer.member(prepared)
            value.write(to: &writer)
        }
    }

    override var schema: JSONSchema { Value.schema }
}

/// Where a member lies in its struct: following a key path costs as much as writing most members.
private struct JSONPlace<Root, Value> {
    private let path: WritableKeyPath<Root, Value>
    /// Nil for what is computed.
    private let offset: Int?

    init(_ path: WritableKeyPath<Root, Value>) {
        self.path = path
        offset = MemoryLayout<Root>.offset(of: path)
    }

    @inline(__always)
    func with(_ root: UnsafePointer<Root>, _ body: (UnsafePointer<Value>) -> Void) {
        guard let offset else { return withUnsafePointer(to: root.pointee[keyPath: path], body) }
        body((UnsafeRawPointer(root) + offset).assumingMemoryBound(to: Value.self))
    }

    @inline(__always)
    func set(_ value: Value, in root: inout Root) {
        guard let offset else { return root[keyPath: path] = value }
        withUnsafeMutablePointer(to: &root) { root in
            (UnsafeMutableRawPointer(root) + offset).assumingMemoryBound(to: Value.self).pointee = value
        }
    }
}
