/// Half characters in JSON text: programs that count in UTF-16 cut names and previews inside an emoji.
///
/// Our reader refuses them, and one such name must not keep a platform's whole batch out for days.
enum LoneSurrogates {
    /// The JSON with every lone `\uD8xx` escape replaced by U+FFFD; nil when there is none.
    static func replaced(in json: [UInt8]) -> [UInt8]? {
        var output = json
        var isChanged = false
        var index = 0
        while index < json.count {
            guard json[index] == UInt8(ascii: "\\") else {
                index += 1
                continue
            }
            guard let unit = unit(json, at: index), (0xD800...0xDFFF).contains(unit) else {
                index += 2
                continue
            }
            let isPair =
                unit < 0xDC00
                && (self.unit(json, at: index + 6).map { (0xDC00...0xDFFF).contains($0) } ?? false)
            if isPair {
                index += 12
            } else {
                output.replaceSubrange(index..<index + 6, with: Array(#"\uFFFD"#.utf8))
                isChanged = true
                index += 6
            }
        }
        return isChanged ? output : nil
    }

    /// The code unit of the `\uXXXX` at the index.
    private static func unit(_ json: [UInt8], at index: Int) -> UInt32? {
        guard index + 6 <= json.count, json[index] == UInt8(ascii: "\\"), json[index + 1] == UInt8(ascii: "u")
        else {
            return nil
        }
        var unit: UInt32 = 0
        for byte in json[(index + 2)..<(index + 6)] {
            guard let digit = hexDigit(byte) else { return nil }
            unit = unit << 4 | UInt32(digit)
        }
        return unit
    }
}
