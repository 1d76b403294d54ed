/// Where a request's body ends, so that nothing after it reaches the host: a second request could name
/// another. A value, so that any split of the bytes gives the same.
struct BodyFraming {
    private enum State {
        case sized(Int)
        /// Digits of a chunk's size so far, and whether an extension has begun.
        case size(Int, digits: Int, inExtension: Bool)
        case sizeEnd(Int)
        case chunk(Int)
        case chunkEnd(isLineFeed: Bool)
        /// The length of the trailer's line so far.
        case trailer(line: Int)
        case trailerEnd(line: Int)
        case done
    }

    private var state: State
    private var lineBytes = 0
    private static let lineBytesMax = 8_192

    init(_ framing: ProxyHead.Framing) {
        switch framing {
        case .none: state = .done
        case .sized(let count): state = count == 0 ? .done : .sized(count)
        case .chunked: state = .size(0, digits: 0, inExtension: false)
        }
    }

    var isDone: Bool { if case .done = state { true } else { false } }

    /// How many of the bytes belong to the body; throws where they are no chunks.
    mutating func take(_ bytes: [UInt8]) throws(ProxyRefusal) -> Int {
        var index = 0
        while index < bytes.count {
            switch state {
            case .done: return index
            case .sized(let left):
                let count = min(left, bytes.count - index)
                state = left == count ? .done : .sized(left - count)
                index += count
            case .chunk(let left):
                let count = min(left, bytes.count - index)
                state = left == count ? .chunkEnd(isLineFeed: false) : .chunk(left - count)
                index += count
            default:
                try step(bytes[index])
                index += 1
            }
        }
        return index
    }

    private mutating func step(_ byte: UInt8) throws(ProxyRefusal) {
        lineBytes += 1
        guard lineBytes <= Self.lineBytesMax else {
            throw ProxyRefusal(400, "a line of the body is too long")
        }
        switch (state, byte) {
        case (.size(let size, let digits, _), 0x0D) where digits > 0: state = .sizeEnd(size)
        case (.size(let size, let digits, _), UInt8(ascii: ";")) where digits > 0:
            state = .size(size, digits: digits, inExtension: true)
        case (.size(let size, let digits, true), _) where byte >= 0x20 && byte != 0x7F:
            state = .size(size, digits: digits, inExtension: true)
        case (.size(let size, let digits, false), _):
            guard digits < 15, let digit = Self.digit(byte) else {
                throw ProxyRefusal(400, "the body is not in chunks")
            }
            state = .size(size << 4 | digit, digits: digits + 1, inExtension: false)
        case (.sizeEnd(0), 0x0A): begin(.trailer(line: 0))
        case (.sizeEnd(let size), 0x0A): begin(.chunk(size))
        case (.chunkEnd(false), 0x0D): state = .chunkEnd(isLineFeed: true)
        case (.chunkEnd(true), 0x0A): begin(.size(0, digits: 0, inExtension: false))
        case (.trailer(let line), 0x0D): state = .trailerEnd(line: line)
        case (.trailer(let line), _) where byte != 0x0A: state = .trailer(line: line + 1)
        case (.trailerEnd(let line), 0x0A): begin(line == 0 ? .done : .trailer(line: 0))
        default: throw ProxyRefusal(400, "the body is not in chunks")
        }
    }

    private mutating func begin(_ next: State) {
        lineBytes = 0
        state = next
    }

    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte) - 87
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte) - 55
        default: nil
        }
    }
}
