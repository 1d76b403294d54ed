/// A value that reads itself from JSON, writes itself as canonical JSON, and says what its JSON looks like.
@usableFromInline
package protocol JSONCoded: Sendable {
    init(from reader: inout JSONReader) throws(JSONError)
    func write(to writer: inout JSONWriter)
    static var schema: JSONSchema { get }
}

extension JSONCoded {
    /// From the whole input; white space around the value is allowed, nothing else.
    @inlinable
    package init(json: [UInt8]) throws(JSONError) {
        var reader = JSONReader(json)
        try self.init(from: &reader)
        try reader.finish()
    }

    /// Canonical (RFC 8785).
    @inlinable
    package var json: [UInt8] {
        var writer = JSONWriter(reserving: 256)
        write(to: &writer)
        return writer.bytes
    }
}

extension String: JSONCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) { self = try reader.string() }
    @inlinable
    package func write(to writer: inout JSONWriter) { writer.string(self) }
    @inlinable
    package static var schema: JSONSchema { .string() }
}

extension Bool: JSONCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) { self = try reader.bool() }
    @inlinable
    package func write(to writer: inout JSONWriter) { writer.bool(self) }
    @inlinable
    package static var schema: JSONSchema { .boolean }
}

extension Int64: JSONCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) {
        switch try reader.number() {
        case .integer(let integer): self = integer
        case .double(let double):
            guard let integer = Int64(exactly: double) else { throw reader.error("expected an integer") }
            self = integer
        }
    }

    @inlinable
    package func write(to writer: inout JSONWriter) { writer.integer(self) }
    @inlinable
    package static var schema: JSONSchema { .integer }
}

extension Int: JSONCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) {
        self = Int(try Int64(from: &reader))
    }

    @inlinable
    package func write(to writer: inout JSONWriter) { writer.integer(Int64(self)) }
    @inlinable
    package static var schema: JSONSchema { .integer }
}

extension Double: JSONCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) {
        switch try reader.number() {
        case .integer(let integer): self = Double(integer)
        case .double(let double): self = double
        }
    }

    @inlinable
    package func write(to writer: inout JSONWriter) { writer.double(self) }
    @inlinable
    package static var schema: JSONSchema { .number }
}

extension Array: JSONCoded where Element: JSONCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) {
        self.init()
        try reader.enter(0x5B, "[")
        while try reader.hasNext(first: isEmpty, closing: 0x5D) {
            let index = count
            do throws(JSONError) {
                append(try Element(from: &reader))
            } catch {
                throw error.under("\(index)")
            }
        }
    }

    @inlinable
    package func write(to writer: inout JSONWriter) {
        writer.beginArray()
        // In place: a loop over the array would copy each element.
        withUnsafeBufferPointer { elements in
            for index in elements.indices { elements[index].write(to: &writer) }
        }
        writer.endArray()
    }

    @inlinable
    package static var schema: JSONSchema { .array(of: Element.schema) }
}

extension Dictionary: JSONCoded where Key == String, Value: JSONCoded {
    @inlinable
    package init(from reader: inout JSONReader) throws(JSONError) {
        self.init()
        try reader.enter(0x7B, "{")
        var first = true
        while try reader.hasNext(first: first, closing: 0x7D) {
            first = false
            let name = try reader.string()
            try reader.expect(0x3A, ":")
            do throws(JSONError) {
                guard updateValue(try Value(from: &reader), forKey: name) == nil else {
                    throw reader.error("the member is there twice")
                }
            } catch {
                throw error.under(name)
            }
        }
    }

    @inlinable
    package func write(to writer: inout JSONWriter) {
        writer.beginObject()
        for (name, value) in sorted(by: { $0.key.canonicallyPrecedes($1.key) }) {
            writer.member(name)
            value.write(to: &writer)
        }
        writer.endObject()
    }

    @inlinable
    package static var schema: JSONSchema { .map(of: Value.schema) }
}

/// A value that keeps its JSON from when it was needed first: for what is written more than once.
package struct JSONKept<Value: JSONCoded & Hashable>: JSONCoded, Hashable {
    package let value: Value
    private var bytes: [UInt8]?

    package init(_ value: Value) {
        self.value = value
    }

    /// The canonical JSON, which is kept.
    package mutating func keepJSON() -> [UInt8] {
        if let bytes { return bytes }
        let bytes = value.json
        self.bytes = bytes
        return bytes
    }

    package static func == (left: Self, right: Self) -> Bool { left.value == right.value }
    package func hash(into hasher: inout Hasher) { hasher.combine(value) }

    package init(from reader: inout JSONReader) throws(JSONError) { value = try Value(from: &reader) }

    package func write(to writer: inout JSONWriter) {
        if let bytes { writer.raw(bytes) } else { value.write(to: &writer) }
    }

    package static var schema: JSONSchema { Value.schema }
}

/// A closed set of words; any other is an error.
package protocol JSONStringEnum: JSONCoded, RawRepresentable, CaseIterable where RawValue == String {}

extension JSONStringEnum {
    package init(from reader: inout JSONReader) throws(JSONError) {
        let word = try reader.string()
        guard let value = Self(rawValue: word) else {
            let allowed = Self.allCases.map(\.rawValue).joined(separator: ", ")
            throw reader.error("expected one of \(allowed)")
        }
        self = value
    }

    package func write(to writer: inout JSONWriter) { writer.string(rawValue) }

    package static var schema: JSONSchema { .words(allCases.map(\.rawValue), isOpen: false) }
}

/// A set of words that may grow; those not known yet are read as `.unknown`.
package protocol JSONOpenEnum: JSONStringEnum {
    static var unknown: Self { get }
}

extension JSONOpenEnum {
    package init(from reader: inout JSONReader) throws(JSONError) {
        self = Self(rawValue: try reader.string()) ?? .unknown
    }

    package static var schema: JSONSchema { .words(allCases.map(\.rawValue), isOpen: true) }
}
