@usableFromInline
enum JSONNumber {
    case integer(Int64)
    case double(Double)
}

extension JSONReader {
    @usableFromInline
    mutating func number() throws(JSONError) -> JSONNumber {
        _ = try peek()
        let start = offset
        let isNegative = take(UInt8(ascii: "-"))
        let whole = digits()
        guard whole > 0 else { throw error("not a JSON value") }
        guard whole == 1 || bytes[offset - whole] != UInt8(ascii: "0") else {
            throw error("a number with a leading zero")
        }
        var isInteger = true
        if take(UInt8(ascii: ".")) {
            isInteger = false
            guard digits() > 0 else { throw error("a number without digits after its point") }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isInteger = false
            _ = take(UInt8(ascii: "+")) || take(UInt8(ascii: "-"))
            guard digits() > 0 else { throw error("a number without digits in its exponent") }
        }
        if isInteger, let integer = smallInteger(start + (isNegative ? 1 : 0), isNegative) {
            return .integer(integer)
        }
        guard let double = Double(String(decoding: bytes[start..<offset], as: UTF8.self)), double.isFinite
        else {
            throw error("a number beyond what a double can hold")
        }
        return .double(double)
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard offset < bytes.count, bytes[offset] == byte else { return false }
        offset += 1
        return true
    }

    private mutating func digits() -> Int {
        let start = offset
        while offset < bytes.count, bytes[offset] >= 0x30, bytes[offset] <= 0x39 { offset += 1 }
        return offset - start
    }

    private func smallInteger(_ start: Int, _ isNegative: Bool) -> Int64? {
        var value: Int64 = 0
        for index in start..<offset {
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let digit = Int64(bytes[index] - 0x30)
            let (next, overflowToo) =
                isNegative
                ? scaled.subtractingReportingOverflow(digit) : scaled.addingReportingOverflow(digit)
            guard !overflow, !overflowToo else { return nil }
            value = next
        }
        return value
    }
}
