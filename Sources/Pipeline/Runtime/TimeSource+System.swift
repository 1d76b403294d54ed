import Crypto
import Glibc
import Topics

extension TimeSource {
    package static let system = TimeSource(
        now: {
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            return Timestamp(milliseconds: Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000)
        },
        sleep: { try await Task.sleep(for: $0) }
    )
}

extension ChanceSource {
    package static let system = ChanceSource(
        identifier: { uuid(at: TimeSource.system.now(), random: secureRandomBytes(10)) },
        fraction: {
            let bytes = secureRandomBytes(8)
            return Double(bytes.reduce(0) { $0 << 8 | UInt64($1) } >> 11) / Double(1 << 53)
        }
    )

    /// UUIDv7 (RFC 9562): 48 bits of milliseconds, then chance.
    static func uuid(at time: Timestamp, random: [UInt8]) -> String {
        let stamp = stride(from: 40, through: 0, by: -8).map {
            UInt8(truncatingIfNeeded: time.milliseconds >> Int64($0))
        }
        var bytes = stamp + random
        bytes[6] = bytes[6] & 0x0F | 0x70
        bytes[8] = bytes[8] & 0x3F | 0x80
        let hex = Array(Hex.encode(bytes).utf8)
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for part in [0..<8, 8..<12, 12..<16, 16..<20, 20..<32] {
            if !text.isEmpty { text.append(UInt8(ascii: "-")) }
            text += hex[part]
        }
        return String(decoding: text, as: UTF8.self)
    }
}
