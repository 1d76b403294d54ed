/// The fields of an `application/x-www-form-urlencoded` body or of a query.
struct FormBody {
    private let fields: [(name: String, value: String)]

    static let fieldsMax = 256

    /// Nil when an escape is broken, a field is no UTF-8, or there are too many.
    init?(_ bytes: some Collection<UInt8>) {
        var fields: [(name: String, value: String)] = []
        for part in bytes.split(separator: UInt8(ascii: "&")) {
            let halves = part.split(
                separator: UInt8(ascii: "="),
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            guard fields.count < Self.fieldsMax, let name = Self.decoded(halves[0]),
                let value = halves.count > 1 ? Self.decoded(halves[1]) : ""
            else { return nil }
            fields.append((name, value))
        }
        self.fields = fields
    }

    /// The query of a request target.
    init?(queryOf target: String) {
        self.init(target.utf8.drop { $0 != UInt8(ascii: "?") }.dropFirst())
    }

    /// The first of that name.
    subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

    private static func decoded(_ bytes: some Collection<UInt8>) -> String? {
        var output: [UInt8] = []
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): output.append(0x20)
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(hexDigit),
                    let low = rest.popFirst().flatMap(hexDigit)
                else { return nil }
                output.append(high << 4 | low)
            default: output.append(byte)
            }
        }
        return String(validating: output, as: UTF8.self)
    }
}

/// The value of a hexadecimal digit.
func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
}
