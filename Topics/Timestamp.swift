package import JSON

/// A point in time, in whole milliseconds since 1970-01-01T00:00:00Z; as JSON an RFC 3339 string in UTC.
package struct Timestamp: Sendable, Hashable, Comparable {
    package var milliseconds: Int64

    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    package static func < (left: Self, right: Self) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// Saturates at the ends of the range.
    package static func + (time: Self, duration: Duration) -> Self {
        let (seconds, attoseconds) = duration.components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        let (moved, overflowToo) = time.milliseconds.addingReportingOverflow(
            scaled &+ attoseconds / 1_000_000_000_000_000
        )
        guard !overflow, !overflowToo else { return Self(milliseconds: seconds < 0 ? .min : .max) }
        return Self(milliseconds: moved)
    }

    package static func - (left: Self, right: Self) -> Duration {
        .milliseconds(left.milliseconds.subtractingReportingOverflow(right.milliseconds).partialValue)
    }
}

// Civil dates by counting days in 400-year eras that start in March, so that leap days come last.
extension Timestamp {
    /// As in `2026-11-24T09:15:00.123Z`. Years outside 0…9999 are given as the nearest of them.
    package var rfc3339: String {
        let bounded = min(max(milliseconds, -62_167_219_200_000), 253_402_300_799_999)
        let days = Self.floorDivide(bounded, 86_400_000)
        let inDay = bounded - days * 86_400_000
        let shifted = days + 719_468
        let era = Self.floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        Self.append(year, digits: 4, to: &text, then: "-")
        Self.append(month, digits: 2, to: &text, then: "-")
        Self.append(day, digits: 2, to: &text, then: "T")
        Self.append(inDay / 3_600_000, digits: 2, to: &text, then: ":")
        Self.append(inDay / 60_000 % 60, digits: 2, to: &text, then: ":")
        Self.append(inDay / 1_000 % 60, digits: 2, to: &text, then: ".")
        Self.append(inDay % 1_000, digits: 3, to: &text, then: "Z")
        return String(decoding: text, as: UTF8.self)
    }

    /// Accepts any RFC 3339 date-time; digits below the millisecond are dropped, a leap second counts as :59.
    package init?(rfc3339 text: String) {
        var digits = DigitReader(Array(text.utf8))
        guard let year = digits.number(4), digits.skip("-"), let month = digits.number(2),
            digits.skip("-"), let day = digits.number(2),
            digits.skip("T") || digits.skip("t") || digits.skip(" "),
            let hour = digits.number(2), digits.skip(":"), let minute = digits.number(2), digits.skip(":"),
            let second = digits.number(2), let fraction = digits.fraction(),
            let offset = digits.offset(), digits.isAtEnd,
            (1...12).contains(month), day >= 1, day <= Self.days(in: month, of: year),
            hour < 24, minute < 60, second <= 60
        else { return nil }
        let seconds = hour * 3_600 + minute * 60 + min(second, 59) - offset * 60
        self.init(milliseconds: Self.days(year, month, day) * 86_400_000 + seconds * 1_000 + fraction)
    }

    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = floorDivide(shiftedYear, 400)
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        value >= 0 ? value / divisor : (value - divisor + 1) / divisor
    }

    private static func append(
        _ value: Int64,
        digits: Int,
        to text: inout [UInt8],
        then separator: Unicode.Scalar
    ) {
        var divisor = Int64(1)
        for _ in 1..<digits { divisor *= 10 }
        while divisor > 0 {
            text.append(UInt8(truncatingIfNeeded: 0x30 + value / divisor % 10))
            divisor /= 10
        }
        text.append(UInt8(ascii: separator))
    }
}

/// Reads the fixed-width numbers of a date-time.
private struct DigitReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { position == bytes.count }

    mutating func number(_ digits: Int) -> Int64? {
        var value: Int64 = 0
        for _ in 0..<digits {
            guard let digit = nextDigit() else { return nil }
            value = value * 10 + digit
        }
        return value
    }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// Milliseconds after an optional point.
    mutating func fraction() -> Int64? {
        guard skip(".") else { return 0 }
        var value: Int64 = 0
        var count = 0
        while let digit = nextDigit() {
            if count < 3 { value = value * 10 + digit }
            count += 1
        }
        guard count > 0 else { return nil }
        for _ in min(count, 3)..<3 { value *= 10 }
        return value
    }

    /// Minutes east of UTC.
    mutating func offset() -> Int64? {
        if skip("Z") || skip("z") { return 0 }
        let sign: Int64
        if skip("+") { sign = 1 } else if skip("-") { sign = -1 } else { return nil }
        guard let hours = number(2), skip(":"), let minutes = number(2), hours < 24, minutes < 60 else {
            return nil
        }
        return sign * (hours * 60 + minutes)
    }

    private mutating func nextDigit() -> Int64? {
        guard position < bytes.count, bytes[position] >= 0x30, bytes[position] <= 0x39 else { return nil }
        defer { position += 1 }
        return Int64(bytes[position] - 0x30)
    }
}

extension Timestamp: JSONCoded {
    package init(from reader: inout JSONReader) throws(JSONError) {
        let text = try String(from: &reader)
        guard let time = Timestamp(rfc3339: text) else {
            throw reader.error("not an RFC 3339 date-time: \(text.prefix(40))")
        }
        self = time
    }

    package func write(to writer: inout JSONWriter) {
        rfc3339.write(to: &writer)
    }

    package static var schema: JSONSchema { .string(format: "date-time") }
}
