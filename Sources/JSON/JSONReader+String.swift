/// A string's content: in place when nothing was escaped.
@usableFromInline
enum StringToken {
    case plain(Range<Int>)
    case unescaped([UInt8])
}

extension JSONReader {
    @usableFromInline
    package mutating func string() throws(JSONError) -> String {
        switch try stringBytes() {
        case .plain(let range): String(decoding: bytes[range], as: UTF8.self)
        case .unescaped(let content): String(decoding: content, as: UTF8.self)
        }
    }

    @usableFromInline
    mutating func stringBytes() throws(JSONError) -> StringToken {
        try expect(UInt8(ascii: "\""), "a string")
        let start = offset
        var isASCII = true
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == UInt8(ascii: "\"") {
                let range = start..<offset
                if !isASCII { try checkUTF8(range) }
                offset += 1
                return .plain(range)
            }
            if byte == UInt8(ascii: "\\") { return .unescaped(try unescape(from: start)) }
            guard byte >= 0x20 else { throw error("a control character in a string") }
            if byte >= 0x80 { isASCII = false }
            offset += 1
        }
        throw error("a string without its closing quote")
    }

    private mutating func unescape(from start: Int) throws(JSONError) -> [UInt8] {
        var content = Array(bytes[start..<offset])
        var runStart = start
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == UInt8(ascii: "\"") {
                try checkUTF8(runStart..<offset)
                offset += 1
                return content
            }
            guard byte >= 0x20 else { throw error("a control character in a string") }
            guard byte == UInt8(ascii: "\\") else {
                content.append(byte)
                offset += 1
                continue
            }
            try checkUTF8(runStart..<offset)
            offset += 1
            try appendEscape(to: &content)
            runStart = offset
        }
        throw error("a string without its closing quote")
    }

    private mutating func appendEscape(to content: inout [UInt8]) throws(JSONError) {
        guard offset < bytes.count else { throw error("a string without its closing quote") }
        let byte = bytes[offset]
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0C)
        case UInt8(ascii: "n"): content.append(0x0A)
        case UInt8(ascii: "r"): content.append(0x0D)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"):
            var scalar = UInt32(try hexUnit())
            if scalar >> 10 == 0x36 {
                guard offset + 1 < bytes.count, bytes[offset] == UInt8(ascii: "\\"),
                    bytes[offset + 1] == UInt8(ascii: "u")
                else { throw error("a lone surrogate") }
                offset += 2
                let low = UInt32(try hexUnit())
                guard low >> 10 == 0x37 else { throw error("a lone surrogate") }
                scalar = 0x10000 + (scalar & 0x3FF) << 10 + (low & 0x3FF)
            }
            guard let unicode = Unicode.Scalar(scalar) else { throw error("a lone surrogate") }
            content.append(contentsOf: UTF8.encode(unicode).map { Array($0) } ?? [])
        default: throw error("an unknown escape")
        }
    }

    private mutating func hexUnit() throws(JSONError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard offset < bytes.count else { throw error("an escape that ends too early") }
            let digit: UInt8
            switch bytes[offset] {
            case 0x30...0x39: digit = bytes[offset] - 0x30
            case 0x41...0x46: digit = bytes[offset] - 0x41 + 10
            case 0x61...0x66: digit = bytes[offset] - 0x61 + 10
            default: throw error("an escape with a letter that is no hex digit")
            }
            value = value << 4 | UInt16(digit)
            offset += 1
        }
        return value
    }

    /// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
    private func checkUTF8(_ range: Range<Int>) throws(JSONError) {
        var index = range.lowerBound
        while index < range.upperBound {
            let first = bytes[index]
            let tail: Int
            var allowed: ClosedRange<UInt8> = 0x80...0xBF
            switch first {
            case 0x00...0x7F: tail = 0
            case 0xC2...0xDF: tail = 1
            case 0xE0: (tail, allowed) = (2, 0xA0...0xBF)
            case 0xED: (tail, allowed) = (2, 0x80...0x9F)
            case 0xE1...0xEF: tail = 2
            case 0xF0: (tail, allowed) = (3, 0x90...0xBF)
            case 0xF4: (tail, allowed) = (3, 0x80...0x8F)
            case 0xF1...0xF3: tail = 3
            default: throw JSONError(offset: index, message: "not UTF-8")
            }
            for step in 0..<tail {
                guard index + 1 + step < range.upperBound, allowed.contains(bytes[index + 1 + step]) else {
                    throw JSONError(offset: index, message: "not UTF-8")
                }
                allowed = 0x80...0xBF
            }
            index += 1 + tail
        }
    }
}
