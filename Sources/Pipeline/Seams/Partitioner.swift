/// Which partition a key belongs to: Kafka's murmur2, as Java's clients and librdkafka's `murmur2_random` do
/// it, so that producers in other languages put a conversation into the same partition.
package enum Partitioner {
    /// - Precondition: the key is not empty and there is at least one partition.
    package static func partition(of key: [UInt8], among partitions: Int32) -> Int32 {
        precondition(!key.isEmpty && partitions > 0, "no partition for a key of \(key.count) bytes")
        return Int32(murmur2(key) & 0x7FFF_FFFF) % partitions
    }

    static func murmur2(_ bytes: [UInt8]) -> UInt32 {
        let multiplier: UInt32 = 0x5BD1_E995
        var hash = 0x9747_B28C ^ UInt32(truncatingIfNeeded: bytes.count)
        var index = 0
        while bytes.count - index >= 4 {
            var word =
                UInt32(bytes[index]) | UInt32(bytes[index + 1]) << 8
                | UInt32(bytes[index + 2]) << 16 | UInt32(bytes[index + 3]) << 24
            word &*= multiplier
            word ^= word >> 24
            word &*= multiplier
            hash = (hash &* multiplier) ^ word
            index += 4
        }
        let rest = bytes.count - index
        if rest >= 3 { hash ^= UInt32(bytes[index + 2]) << 16 }
        if rest >= 2 { hash ^= UInt32(bytes[index + 1]) << 8 }
        if rest >= 1 {
            hash ^= UInt32(bytes[index])
            hash &*= multiplier
        }
        hash ^= hash >> 13
        hash &*= multiplier
        return hash ^ hash >> 15
    }
}
