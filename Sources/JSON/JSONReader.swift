/// Reads JSON (RFC 8259) in one pass: strict, with UTF-8 checked everywhere, also in what is skipped.
///
/// Refused beyond the grammar: lone surrogates, a member twice in one object (where its names are looked at),
/// more than 64 levels. Integers beyond 64 bits are read as the nearest `Double`.
@usableFromInline
package struct JSONReader {
    package static let depthMax = 64
    let bytes: [UInt8]
    package internal(set) var offset = 0
    var depth = 0

    @usableFromInline
    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    @usableFromInline
    package func error(_ message: String) -> JSONError {
        JSONError(offset: offset, message: message)
    }

    /// After the value there may be white space and nothing else.
    @usableFromInline
    package mutating func finish() throws(JSONError) {
        skipSpace()
        guard offset == bytes.count else { throw error("more after the end of the value") }
    }

    @inline(__always)
    mutating func skipSpace() {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x0A, 0x0D, 0x09: offset += 1
            default: return
            }
        }
    }

    /// The next byte that is not white space, still unread.
    @usableFromInline
    mutating func peek() throws(JSONError) -> UInt8 {
        skipSpace()
        guard offset < bytes.count else { throw error("the input ends too early") }
        return bytes[offset]
    }

    @usableFromInline
    mutating func expect(_ byte: UInt8, _ what: String) throws(JSONError) {
        guard try peek() == byte else { throw error("expected \(what)") }
        offset += 1
    }

    @usableFromInline
    mutating func enter(_ byte: UInt8, _ what: String) throws(JSONError) {
        try expect(byte, what)
        depth += 1
        guard depth <= Self.depthMax else { throw error("more than \(Self.depthMax) levels") }
    }

    /// True when there is another element; consumes the comma or the closing byte.
    @usableFromInline
    mutating func hasNext(first: Bool, closing: UInt8) throws(JSONError) -> Bool {
        let byte = try peek()
        if byte == closing {
            offset += 1
            depth -= 1
            return false
        }
        if first { return true }
        guard byte == 0x2C else { throw error("expected , or \(Character(Unicode.Scalar(closing)))") }
        offset += 1
        if try peek() == closing { throw error("a comma before \(Character(Unicode.Scalar(closing)))") }
        return true
    }

    /// Consumes `null` when it is next.
    @usableFromInline
    package mutating func takeNull() throws(JSONError) -> Bool {
        guard try peek() == UInt8(ascii: "n") else { return false }
        try word("null")
        return true
    }

    mutating func word(_ word: StaticString) throws(JSONError) {
        let count = word.utf8CodeUnitCount
        let matches = word.withUTF8Buffer { text in
            offset + count <= bytes.count && bytes[offset..<offset + count].elementsEqual(text)
        }
        guard matches else { throw error("not a JSON value") }
        offset += count
    }

    @usableFromInline
    package mutating func bool() throws(JSONError) -> Bool {
        switch try peek() {
        case UInt8(ascii: "t"):
            try word("true")
            return true
        case UInt8(ascii: "f"):
            try word("false")
            return false
        default: throw error("expected true or false")
        }
    }

    /// Passes over the next value, checking it.
    @usableFromInline
    package mutating func skip() throws(JSONError) {
        switch try peek() {
        case UInt8(ascii: "{"):
            try enter(0x7B, "{")
            var first = true
            while try hasNext(first: first, closing: 0x7D) {
                first = false
                try skipString()
                try expect(0x3A, ":")
                try skip()
            }
        case UInt8(ascii: "["):
            try enter(0x5B, "[")
            var first = true
            while try hasNext(first: first, closing: 0x5D) {
                first = false
                try skip()
            }
        case UInt8(ascii: "\""): try skipString()
        case UInt8(ascii: "t"), UInt8(ascii: "f"): _ = try bool()
        case UInt8(ascii: "n"): try word("null")
        default: _ = try number()
        }
    }

    private mutating func skipString() throws(JSONError) {
        _ = try stringBytes()
    }
}
