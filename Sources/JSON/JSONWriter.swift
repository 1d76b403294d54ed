/// Writes canonical JSON (RFC 8785): the same value always gives the same bytes.
///
/// Whoever writes an object gives its members in canonical order (`canonicallyPrecedes`); `JSONFields` and
/// dictionaries do.
@usableFromInline
package struct JSONWriter {
    @usableFromInline package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init() {}

    @usableFromInline
    package init(reserving count: Int) {
        bytes.reserveCapacity(count)
    }

    @usableFromInline
    package mutating func beginObject() { open(0x7B) }
    @usableFromInline
    package mutating func endObject() { close(0x7D) }
    @usableFromInline
    package mutating func beginArray() { open(0x5B) }
    @usableFromInline
    package mutating func endArray() { close(0x5D) }

    /// The bytes of a member's name with its quotes and colon, made once by `Self.name`.
    @usableFromInline
    mutating func member(_ prepared: [UInt8]) {
        if needsComma { bytes.append(0x2C) }
        bytes.append(contentsOf: prepared)
        needsComma = false
    }

    @usableFromInline
    package mutating func member(_ name: String) {
        string(name)
        bytes.append(0x3A)
        needsComma = false
    }

    @usableFromInline
    static func prepare(_ name: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.member(name)
        return writer.bytes
    }

    package mutating func null() { value("null") }
    @usableFromInline
    package mutating func bool(_ bool: Bool) { value(bool ? "true" : "false") }

    @usableFromInline
    package mutating func integer(_ integer: Int64) {
        separate()
        if integer >= 0, integer < 10 {
            bytes.append(0x30 + UInt8(integer))
        } else {
            bytes.append(contentsOf: String(integer).utf8)
        }
    }

    /// As ECMAScript prints it. What is not finite has no JSON and is written as null.
    @usableFromInline
    package mutating func double(_ double: Double) {
        guard double.isFinite else { return null() }
        separate()
        bytes.append(contentsOf: Self.text(of: double).utf8)
    }

    @usableFromInline
    package mutating func string(_ text: String) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { units in
            var start = 0
            var index = Self.plainCount(units, from: 0)
            while index < units.count {
                bytes.append(contentsOf: units[start..<index])
                escape(units[index])
                start = index + 1
                index = Self.plainCount(units, from: start)
            }
            bytes.append(contentsOf: units[start...])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Where the next byte is that must be escaped, or the end. Eight bytes at a time: a byte's high bit in
    /// `found` says that it is below 0x20, a quote or a backslash.
    private static func plainCount(_ units: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        let raw = UnsafeRawBufferPointer(units)
        var index = start
        while index + 8 <= raw.count {
            let word = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            let quotes = word ^ (ones &* 0x22)
            let slashes = word ^ (ones &* 0x5C)
            let found =
                ((word &- ones &* 0x20) & ~word | (quotes &- ones) & ~quotes | (slashes &- ones) & ~slashes)
                & highs
            // The lowest mark is exact; those above it may be borrowed from it.
            if found != 0 { return index + found.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < units.count, units[index] >= 0x20, units[index] != 0x22, units[index] != 0x5C {
            index += 1
        }
        return index
    }

    /// Bytes that are canonical JSON already.
    package mutating func raw(_ canonical: [UInt8]) {
        separate()
        bytes.append(contentsOf: canonical)
    }

    private mutating func open(_ byte: UInt8) {
        if needsComma { bytes.append(0x2C) }
        bytes.append(byte)
        needsComma = false
    }

    private mutating func close(_ byte: UInt8) {
        bytes.append(byte)
        needsComma = true
    }

    private mutating func value(_ text: StaticString) {
        separate()
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    private mutating func separate() {
        if needsComma { bytes.append(0x2C) }
        needsComma = true
    }

    private mutating func escape(_ unit: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        switch unit {
        case 0x22, 0x5C: bytes.append(unit)
        case 0x08: bytes.append(UInt8(ascii: "b"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0C: bytes.append(UInt8(ascii: "f"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        default:
            let hex = Array("0123456789abcdef".utf8)
            bytes.append(contentsOf: [
                UInt8(ascii: "u"), 0x30, 0x30, hex[Int(unit >> 4)], hex[Int(unit & 15)],
            ])
        }
    }
}

extension JSONWriter {
    /// ECMAScript's Number::toString on the shortest digits that read back as the same double.
    static func text(of double: Double) -> String {
        if double == 0 { return "0" }
        let (digits, exponent) = shortest(abs(double))
        let sign = double < 0 ? "-" : ""
        let count = digits.count
        // The value is 0.DIGITS × 10^point.
        let point = exponent
        if point > 0, point <= 21 {
            if count <= point { return sign + digits + String(repeating: "0", count: point - count) }
            return sign + digits.prefix(point) + "." + digits.dropFirst(point)
        }
        if point > -6, point <= 0 {
            return sign + "0." + String(repeating: "0", count: -point) + digits
        }
        let power = point - 1
        let mantissa = count == 1 ? digits : "\(digits.prefix(1)).\(digits.dropFirst())"
        return "\(sign)\(mantissa)e\(power < 0 ? "-" : "+")\(abs(power))"
    }

    /// Swift prints the shortest digits too, in another form: take those apart.
    private static func shortest(_ double: Double) -> (digits: String, point: Int) {
        let parts = double.description.lowercased().split(separator: "e")
        let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        let halves = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        var digits = String(halves[0]) + (halves.count > 1 ? String(halves[1]) : "")
        var point = halves[0].count + exponent
        while digits.first == "0", digits.count > 1 {
            digits.removeFirst()
            point -= 1
        }
        while digits.last == "0", digits.count > 1 { digits.removeLast() }
        return (digits, point)
    }
}

extension String {
    /// RFC 8785's order of member names: by UTF-16 code units.
    @usableFromInline
    package func canonicallyPrecedes(_ other: String) -> Bool {
        // UTF-8 sorts as UTF-16 does, but for U+E000 to U+FFFF beside what lies beyond, which UTF-16 writes
        // with the surrogates below: those begin with 0xEE and more.
        for (left, right) in zip(utf8, other.utf8) where left != right {
            if left < 0xEE || right < 0xEE { return left < right }
            return utf16.lexicographicallyPrecedes(other.utf16)
        }
        return utf8.count < other.utf8.count
    }
}
