import JSON

/// JSON for people: two spaces a level, members in canonical order, a line break at the end.
enum JSONText {
    static func pretty(_ value: JSONValue) -> [UInt8] {
        var output: [UInt8] = []
        write(value, indent: 0, to: &output)
        output.append(UInt8(ascii: "\n"))
        return output
    }

    private static func write(_ value: JSONValue, indent: Int, to output: inout [UInt8]) {
        switch value {
        case .object(let members) where !members.isEmpty:
            let sorted = members.sorted { $0.key.canonicallyPrecedes($1.key) }
            lines(sorted, "{", "}", indent: indent, to: &output) { member, output in
                output += JSONValue.string(member.key).json + Array(": ".utf8)
                write(member.value, indent: indent + 2, to: &output)
            }
        case .array(let elements) where !elements.isEmpty:
            lines(elements, "[", "]", indent: indent, to: &output) { element, output in
                write(element, indent: indent + 2, to: &output)
            }
        default:
            output += value.json
        }
    }

    private static func lines<Element>(
        _ elements: [Element],
        _ open: String,
        _ close: String,
        indent: Int,
        to output: inout [UInt8],
        write: (Element, inout [UInt8]) -> Void
    ) {
        let inner = [UInt8](repeating: 0x20, count: indent + 2)
        output += Array(open.utf8)
        for (index, element) in elements.enumerated() {
            output += Array((index == 0 ? "\n" : ",\n").utf8) + inner
            write(element, &output)
        }
        output += Array("\n".utf8) + inner.dropLast(2) + Array(close.utf8)
    }
}
