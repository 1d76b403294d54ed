/// The rules for keys that every store keeps, whatever its own would allow.
package enum ObjectKey {
    package static let bytesMax = 900

    package static func isValid(_ key: String) -> Bool {
        guard !key.isEmpty, key.utf8.count <= bytesMax, key.utf8.allSatisfy(isAllowed) else { return false }
        return key.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { segment in
            !segment.isEmpty && segment != "." && segment != ".." && segment.utf8.count <= 200
        }
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "%"), UInt8(ascii: "="),
            UInt8(ascii: "-"), UInt8(ascii: "/"):
            true
        default: false
        }
    }
}
