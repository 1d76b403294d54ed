/// Cuts a text into pieces that a platform takes, at the places where a reader would.
struct TextChunks {
    /// Most UTF-16 code units of a piece: the strictest count in use, so no platform counts more.
    let unitsMax: Int
    /// `<…>` and `&…;` are units of the markup and stay whole.
    let keepsAngles: Bool

    private static let fence = "```"
    /// Room for closing a code fence and for opening it again.
    private static let reserve = 8

    /// At least one piece; what is dropped at a cut is white space only.
    func split(_ text: String) -> [String] {
        precondition(unitsMax > 4 * Self.reserve, "pieces of \(unitsMax) units are too small")
        var pieces: [String] = []
        var rest = text[...]
        var isInFence = false
        while true {
            let opening = isInFence ? Self.fence + "\n" : ""
            let room = unitsMax - opening.utf16.count
            guard rest.utf16.index(rest.startIndex, offsetBy: room + 1, limitedBy: rest.endIndex) != nil
            else {
                if !rest.isEmpty || pieces.isEmpty { pieces.append(opening + rest) }
                return pieces
            }
            let cut = cut(rest, unitsMax: room - Self.reserve)
            let head = rest[..<cut]
            isInFence = Self.isOpen(head, startingInFence: isInFence)
            pieces.append(
                opening + (isInFence ? Self.trimmedEnd(head) + "\n" + Self.fence : Self.trimmedEnd(head))
            )
            rest = rest[cut...]
            rest = isInFence ? rest.dropFirst(rest.first == "\n" ? 1 : 0) : rest.drop { $0.isWhitespace }
        }
    }

    /// An index after the start, at most the given units away from it.
    private func cut(_ text: Substring, unitsMax: Int) -> Substring.Index {
        let limit = Self.characterBoundary(in: text, unitsMax: unitsMax)
        let head = text[..<limit]
        let least = text.utf16.index(text.startIndex, offsetBy: unitsMax / 2)
        for separator in ["\n\n", "\n", ". ", " "] {
            if let place = Self.last(separator, in: head), place >= least, isOutsideMarkup(text[..<place]) {
                return place
            }
        }
        return beforeOpenMarkup(head) ?? limit
    }

    private func isOutsideMarkup(_ head: Substring) -> Bool {
        beforeOpenMarkup(head) == nil
    }

    /// Where the markup begins that the text ends within; nil when it ends outside, or all of it is one unit.
    private func beforeOpenMarkup(_ head: Substring) -> Substring.Index? {
        guard keepsAngles else { return nil }
        let tail = head.suffix(2_048)
        if let open = tail.lastIndex(of: "<"), !tail[open...].contains(">"), open > head.startIndex {
            return open
        }
        let end = head.suffix(5)
        if let open = end.lastIndex(of: "&"), !end[open...].contains(";"), open > head.startIndex {
            return open
        }
        return nil
    }

    /// After the separator's first part that stays: the end of the last occurrence's visible text.
    private static func last(_ separator: String, in head: Substring) -> Substring.Index? {
        let bytes = head.utf8
        let pattern = Array(separator.utf8)
        var place = bytes.endIndex
        while place > bytes.startIndex {
            place = bytes.index(before: place)
            guard bytes[place] == pattern[0], bytes[place...].starts(with: pattern) else { continue }
            // A sentence keeps its full stop; a line keeps nothing of the break.
            return pattern[0] == UInt8(ascii: ".") ? bytes.index(after: place) : place
        }
        return nil
    }

    /// The last boundary between characters within the units; between scalars for a character of that size.
    private static func characterBoundary(in text: Substring, unitsMax: Int) -> Substring.Index {
        let limit = text.utf16.index(text.startIndex, offsetBy: unitsMax)
        var place = limit
        for _ in 0..<64 where place > text.startIndex {
            if let boundary = Substring.Index(place, within: text) { return boundary }
            place = text.utf16.index(before: place)
        }
        place = limit
        while place > text.startIndex {
            if let boundary = place.samePosition(in: text.base.unicodeScalars) { return boundary }
            place = text.utf16.index(before: place)
        }
        return limit
    }

    private static func isOpen(_ head: Substring, startingInFence: Bool) -> Bool {
        head.split(separator: "\n").reduce(startingInFence) { isOpen, line in
            line.drop { $0 == " " }.hasPrefix(fence) ? !isOpen : isOpen
        }
    }

    private static func trimmedEnd(_ text: Substring) -> Substring {
        var text = text
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }
}
