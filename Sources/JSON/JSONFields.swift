/// A struct whose JSON is an object: one table of its members serves reading, writing and the schema.
@usableFromInline
package protocol JSONObjectCoded: JSONCoded {
    /// Every member at its default.
    init()
    static var fields: JSONFields<Self> { get }
}

extension JSONObjectCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) {
        self.init()
        try Self.fields.read(&self, from: &reader)
    }

    @inlinable
    package func write(to writer: inout JSONWriter) {
        Self.fields.write(self, to: &writer)
    }

    package static var schema: JSONSchema { fields.schema }
}

/// The members of an object, at most 64.
// A class, as its members: a table of structs would be copied, all their references counted, for every member
// of every object that is written.
@usableFromInline
package final class JSONFields<Root: Sendable>: Sendable {
    @usableFromInline let fields: [JSONField<Root>]
    private let title: String
    private let doc: String
    /// A bit for each required member.
    @usableFromInline let required: UInt64

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
    @inlinable
    package func read(_ root: inout Root, from reader: inout JSONReader) throws(JSONError) {
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

    /// Looks first from where it is if the members are in canonical order.
    @usableFromInline
    func index(of name: StringToken, from next: Int, in reader: JSONReader) -> Int? {
        for index in next..<fields.count where fields[index].isNamed(name, in: reader) { return index }
        return (0..<next).first { fields[$0].isNamed(name, in: reader) }
    }

    @inlinable
    package func write(_ root: Root, to writer: inout JSONWriter) {
        writer.beginObject()
        withUnsafePointer(to: root) { root in
            fields.withUnsafeBufferPointer { fields in
                for index in fields.indices { fields[index].write(root, &writer) }
            }
        }
        writer.endObject()
    }

    var schema: JSONSchema {
        .object(
            title: title,
            doc: doc,
            members: fields.map {
                JSONSchema.Member(name: $0.name, doc: $0.doc, isRequired: $0.isRequired, schema: $0.schema())
            }
        )
    }
}

/// One member of an object; made by `required`, `defaulted` and `optional`.
// Closures, inlinable: where an object's members are listed, their types are known, and the compiler makes of
// each what it would of code by hand. Methods would look up generic types' metadata for every member.
@usableFromInline
package final class JSONField<Root: Sendable>: Sendable {
    @usableFromInline typealias Read = @Sendable (inout Root, inout JSONReader) throws(JSONError) -> Void
    @usableFromInline typealias Write = @Sendable (UnsafePointer<Root>, inout JSONWriter) -> Void

    @usableFromInline let name: String
    let doc: String
    let isRequired: Bool
    let schema: @Sendable () -> JSONSchema
    @usableFromInline let read: Read
    @usableFromInline let write: Write
    private let nameBytes: [UInt8]

    @usableFromInline
    init(
        _ name: String,
        _ doc: String,
        isRequired: Bool,
        schema: @escaping @Sendable () -> JSONSchema,
        read: @escaping Read,
        write: @escaping Write
    ) {
        self.name = name
        self.doc = doc
        self.isRequired = isRequired
        self.schema = schema
        self.read = read
        self.write = write
        nameBytes = Array(name.utf8)
    }

    func isNamed(_ name: StringToken, in reader: JSONReader) -> Bool {
        switch name {
        case .plain(let range):
            range.count == nameBytes.count && reader.bytes[range].elementsEqual(nameBytes)
        case .unescaped(let name): name == nameBytes
        }
    }

    /// Must be there.
    @inlinable
    package static func required<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String
    ) -> JSONField<Root> {
        value(name, path, doc, isRequired: true)
    }

    /// May be missing, and then is what `init()` made it; always written.
    @inlinable
    package static func defaulted<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String
    ) -> JSONField<Root> {
        value(name, path, doc, isRequired: false)
    }

    @inlinable
    static func value<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value> & Sendable,
        _ doc: String,
        isRequired: Bool
    ) -> JSONField<Root> {
        let place = JSONPlace(path)
        let prepared = JSONWriter.prepare(name)
        return JSONField(
            name,
            doc,
            isRequired: isRequired,
            schema: { Value.schema },
            read: { root, reader throws(JSONError) in place.set(try Value(from: &reader), in: &root) },
            write: { root, writer in
                writer.member(prepared)
                place.with(root) { $0.pointee.write(to: &writer) }
            }
        )
    }

    /// May be missing or null, and then is nil; not written when nil.
    @inlinable
    package static func optional<Value: JSONCoded>(
        _ name: String,
        _ path: any WritableKeyPath<Root, Value?> & Sendable,
        _ doc: String
    ) -> JSONField<Root> {
        let place = JSONPlace(path)
        let prepared = JSONWriter.prepare(name)
        return JSONField(
            name,
            doc,
            isRequired: false,
            schema: { Value.schema },
            read: { root, reader throws(JSONError) in
                place.set(try reader.takeNull() ? nil : try Value(from: &reader), in: &root)
            },
            write: { root, writer in
                place.with(root) { value in
                    guard let value = value.pointee else { return }
                    writer.member(prepared)
                    value.write(to: &writer)
                }
            }
        )
    }
}

/// Where a member lies in its struct: following a key path costs as much as writing most members.
@usableFromInline
struct JSONPlace<Root, Value>: Sendable {
    @usableFromInline let path: any WritableKeyPath<Root, Value> & Sendable
    /// Nil for what is computed.
    @usableFromInline let offset: Int?

    @usableFromInline
    init(_ path: any WritableKeyPath<Root, Value> & Sendable) {
        self.path = path
        offset = MemoryLayout<Root>.offset(of: path)
    }

    @inlinable
    @inline(__always)
    func with(_ root: UnsafePointer<Root>, _ body: (UnsafePointer<Value>) -> Void) {
        guard let offset else { return withUnsafePointer(to: root.pointee[keyPath: path], body) }
        body((UnsafeRawPointer(root) + offset).assumingMemoryBound(to: Value.self))
    }

    @inlinable
    @inline(__always)
    func set(_ value: Value, in root: inout Root) {
        guard let offset else { return root[keyPath: path] = value }
        withUnsafeMutablePointer(to: &root) { root in
            (UnsafeMutableRawPointer(root) + offset).assumingMemoryBound(to: Value.self).pointee = value
        }
    }
}
