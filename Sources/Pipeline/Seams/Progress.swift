/// What a group has done in one partition: everything below `low`, and single offsets above it.
///
/// Offsets finish out of order, because conversations run side by side; `low` moves up as the gaps close.
package struct Progress: Sendable, Hashable {
    /// How far above `low` an offset may be done. The bitmap is then 2,048 bytes at most, which as base64
    /// always fits the 4,096 bytes of Kafka's commit metadata.
    package static let window: Int64 = 16_384

    package private(set) var low: Int64
    /// Offsets in `low ..< low + window`; bit i of word w is offset `low + 64 w + i`.
    private var done: [UInt64]

    package init(low: Int64) {
        self.low = low
        done = []
    }

    /// What `bitmap` gave, above another or the same `low`; bits beyond the window are dropped.
    package init(low: Int64, bitmap: [UInt8]) {
        self.init(low: low)
        for (index, byte) in bitmap.prefix(Int(Self.window) / 8).enumerated() where byte != 0 {
            for bit in 0..<8 where byte >> bit & 1 == 1 { finish(low + Int64(index * 8 + bit)) }
        }
    }

    /// Bit i of byte b is offset `low + 8 b + i`; at most 2,048 bytes.
    package var bitmap: [UInt8] {
        var bytes = done.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) } }
        while bytes.last == 0 { bytes.removeLast() }
        return bytes
    }

    package func isDone(_ offset: Int64) -> Bool {
        guard offset >= low else { return true }
        let bit = Int(offset - low)
        return bit / 64 < done.count && done[bit / 64] >> UInt64(bit % 64) & 1 == 1
    }

    package func accepts(_ offset: Int64) -> Bool {
        offset < low + Self.window
    }

    /// Offsets above `low` that are done, rising.
    package var doneAbove: [Int64] {
        done.enumerated().flatMap { index, word in
            (0..<64).filter { word >> UInt64($0) & 1 == 1 }.map { low + Int64(index * 64 + $0) }
        }
    }

    /// Marks the offset done; an offset outside the window is a broken invariant of the caller.
    package mutating func finish(_ offset: Int64) {
        guard offset >= low else { return }
        precondition(accepts(offset), "offset \(offset) is outside the window above \(low)")
        let bit = Int(offset - low)
        while done.count <= bit / 64 { done.append(0) }
        done[bit / 64] |= 1 << UInt64(bit % 64)
    }

    /// Nothing below the offset exists any more, or ever did.
    package mutating func skip(to offset: Int64) {
        advance(by: offset - low)
    }

    /// Moves `low` up over the offsets that are done without a gap.
    package mutating func settle() {
        var count: Int64 = 0
        for word in done {
            let ones = (~word).trailingZeroBitCount
            count += Int64(ones)
            if ones < 64 { break }
        }
        advance(by: count)
    }

    private mutating func advance(by count: Int64) {
        guard count > 0 else { return }
        let words = Int(min(count / 64, Int64(done.count)))
        let bits = UInt64(count % 64)
        done.removeFirst(words)
        if bits > 0 {
            for index in done.indices {
                let above = index + 1 < done.count ? done[index + 1] : 0
                done[index] = done[index] >> bits | above << (64 - bits)
            }
        }
        while done.last == 0 { done.removeLast() }
        low += count
    }
}
