/// The name that a TLS client asks for, from the first bytes it sends (RFC 8446, 4.1.2; RFC 6066, 3).
enum ClientHello {
    enum Reading: Hashable {
        case incomplete
        /// Nil: the client names none.
        case name(String?)
        case notTLS
    }

    /// A hello of more bytes is refused as none.
    static let bytesMax = 32 * 1_024

    static func read(_ bytes: [UInt8]) -> Reading {
        guard let message = handshake(bytes) else { return bytes.count < bytesMax ? .incomplete : .notTLS }
        guard !message.isEmpty else { return .notTLS }
        var hello = Reader(message)
        // Version and random, session, cipher suites, compression.
        guard hello.skip(34), hello.block(lengthBytes: 1) != nil, hello.block(lengthBytes: 2) != nil,
            hello.block(lengthBytes: 1) != nil
        else { return .notTLS }
        guard var extensions = hello.block(lengthBytes: 2) else { return .name(nil) }
        while let kind = extensions.number(2), var body = extensions.block(lengthBytes: 2) {
            guard kind == 0 else { continue }
            guard var list = body.block(lengthBytes: 2), list.number(1) == 0,
                let name = list.block(lengthBytes: 2), list.isEmpty
            else { return .notTLS }
            return .name(String(validating: name.bytes, as: UTF8.self))
        }
        return .name(nil)
    }

    /// The hello out of its records; nil when there is more to come, empty when it is none.
    private static func handshake(_ bytes: [UInt8]) -> [UInt8]? {
        var records = Reader(bytes[...])
        var message: [UInt8] = []
        while true {
            if message.count >= 4 {
                guard message[0] == 1 else { return [] }
                let length = Int(message[1]) << 16 | Int(message[2]) << 8 | Int(message[3])
                guard length < bytesMax else { return [] }
                if message.count >= 4 + length { return Array(message[4..<4 + length]) }
            }
            if let first = records.peek, first != 0x16 { return [] }
            guard records.number(1) != nil, let major = records.number(1) else { return nil }
            guard major == 3 else { return [] }
            guard records.skip(1), let fragment = records.block(lengthBytes: 2) else { return nil }
            guard !fragment.isEmpty else { return [] }
            message += fragment.bytes
        }
    }

    private struct Reader {
        private(set) var bytes: ArraySlice<UInt8>

        init(_ bytes: some Collection<UInt8>) { self.bytes = ArraySlice(bytes) }

        var isEmpty: Bool { bytes.isEmpty }
        var peek: UInt8? { bytes.first }

        mutating func skip(_ count: Int) -> Bool {
            guard bytes.count >= count else { return false }
            bytes = bytes.dropFirst(count)
            return true
        }

        mutating func number(_ count: Int) -> Int? {
            guard bytes.count >= count else { return nil }
            let number = bytes.prefix(count).reduce(0) { $0 << 8 | Int($1) }
            bytes = bytes.dropFirst(count)
            return number
        }

        mutating func block(lengthBytes: Int) -> Reader? {
            let before = bytes
            guard let length = number(lengthBytes), bytes.count >= length else {
                bytes = before
                return nil
            }
            let block = Reader(bytes.prefix(length))
            bytes = bytes.dropFirst(length)
            return block
        }
    }
}
