import Topics

/// The text of a Slack message as a person reads it.
struct SlackText {
    var text = ""
    var mentions: [EventMention] = []

    /// Resolves `<…>` and the three escapes of mrkdwn; `me` is our own user id, when it is known.
    init(_ source: String, me: String?) {
        var output: [UInt8] = []
        var rest = Array(source.utf8)[...]
        while let byte = rest.first {
            if byte == UInt8(ascii: "<"), let end = rest.firstIndex(of: UInt8(ascii: ">")) {
                let token = String(decoding: rest[(rest.startIndex + 1)..<end], as: UTF8.self)
                let start = output.count
                let (shown, id) = Self.resolve(token)
                output += Self.unescaped(Array(shown.utf8)[...])
                if let id {
                    mentions.append(
                        EventMention(id: id, offset: start, length: output.count - start, isMe: id == me)
                    )
                }
                rest = rest[(end + 1)...]
            } else {
                let length = max(1, rest.prefix { $0 != UInt8(ascii: "<") }.count)
                output += Self.unescaped(rest.prefix(length))
                rest = rest.dropFirst(length)
            }
        }
        text = String(decoding: output, as: UTF8.self)
    }

    /// As mrkdwn that shows the text as it is.
    static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
    }

    /// What a token shows, and whom it names.
    private static func resolve(_ token: String) -> (String, String?) {
        let halves = token.split(separator: "|", maxSplits: 1).map(String.init)
        let target = halves.first ?? ""
        let label = halves.count > 1 ? halves[1] : nil
        switch target.first {
        case "@":
            let id = String(target.dropFirst())
            return ("@" + (label ?? id), id)
        case "#":
            return ("#" + (label ?? String(target.dropFirst())), nil)
        case "!":
            let word = target.dropFirst()
            if word.hasPrefix("subteam^") { return (label ?? "@" + word.dropFirst(8), nil) }
            if word.hasPrefix("date^") { return (label ?? "", nil) }
            return ("@" + (label ?? String(word)), nil)
        default:
            guard let label, label != target else { return (target, nil) }
            if target == "mailto:" + label || target == "tel:" + label { return (label, nil) }
            // Slack links what merely looks like an address: show it as it was written.
            if target == "http://" + label || target == "https://" + label { return (label, nil) }
            return ("\(label) (\(target))", nil)
        }
    }

    private static func unescaped(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        guard bytes.contains(UInt8(ascii: "&")) else { return Array(bytes) }
        var output: [UInt8] = []
        var rest = bytes
        while let byte = rest.first {
            let escapes: [(StaticString, String)] = [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")]
            if byte == UInt8(ascii: "&"),
                let (escape, plain) = escapes.first(where: { rest.starts(with: $0.0.description.utf8) })
            {
                output += Array(plain.utf8)
                rest = rest.dropFirst(escape.utf8CodeUnitCount)
            } else {
                output.append(byte)
                rest = rest.dropFirst()
            }
        }
        return output
    }
}
