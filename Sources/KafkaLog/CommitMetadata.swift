import JSON
import Pipeline

/// A group's progress as Kafka's committed offset and the text beside it.
///
/// The text is `b1:` and base64 of a CRC-32 (4 bytes, big-endian) and the bitmap. The CRC covers the offset
/// too, so that a bitmap never counts from another offset than its own.
enum CommitMetadata {
    /// Kafka's default `offset.metadata.max.bytes`; the window keeps every bitmap below it.
    static let bytesMax = 4_096
    private static let tag = "b1:"

    static func encode(_ progress: Progress) -> String {
        let bitmap = progress.bitmap
        let sum = CRC32.checksum(bigEndian(progress.low) + bitmap)
        let text = tag + Base64.encode(bigEndian(sum) + bitmap)
        precondition(text.utf8.count <= bytesMax, "commit metadata of \(text.utf8.count) bytes")
        return text
    }

    /// Nil when the text is not ours, or not for this offset. An empty text is how other tools set a group
    /// back: everything from the offset on is to be done.
    static func decode(_ text: String, low: Int64) -> Progress? {
        if text.isEmpty { return Progress(low: low) }
        guard text.hasPrefix(tag), let bytes = Base64.decode(String(text.dropFirst(tag.count))),
            bytes.count >= 4, bytes.count <= 4 + Int(Progress.window) / 8
        else { return nil }
        let bitmap = Array(bytes[4...])
        guard bigEndian(CRC32.checksum(bigEndian(low) + bitmap)) == Array(bytes[..<4]) else { return nil }
        return Progress(low: low, bitmap: bitmap)
    }

    private static func bigEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }
}

/// The CRC-32 of zip and Ethernet (reflected polynomial EDB88320).
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? 0xEDB8_8320 ^ (sum >> 1) : sum >> 1 }
    }

    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { sum, byte in table[Int((sum ^ UInt32(byte)) & 0xFF)] ^ (sum >> 8) }
    }
}
