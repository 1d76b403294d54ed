import CRDKafka

/// A member's place in its group at one moment: what fences its transactions.
///
/// Taken at an assign or a revoke and used until the next: one taken in between can be empty, which a broker
/// accepts from anybody when the group has no members.
final class GroupMetadata: Sendable {
    // Read-only once made.
    nonisolated(unsafe) let pointer: OpaquePointer
    let generation: Int32

    /// Nil when the consumer is in no generation now. Asks librdkafka's thread: not for Swift's.
    init?(of consumer: KafkaHandle) {
        guard let pointer = rd_kafka_consumer_group_metadata(consumer.pointer) else { return nil }
        guard let generation = Self.generation(pointer), generation >= 0 else {
            rd_kafka_consumer_group_metadata_destroy(pointer)
            return nil
        }
        self.pointer = pointer
        self.generation = generation
    }

    private init(_ pointer: OpaquePointer) {
        self.pointer = pointer
        generation = -1
    }

    /// Of nobody, which a broker takes from anybody: for tests that break this rule.
    static func open(_ group: String) -> GroupMetadata? {
        rd_kafka_consumer_group_metadata_new(group).map { GroupMetadata($0) }
    }

    deinit {
        rd_kafka_consumer_group_metadata_destroy(pointer)
    }

    /// From the serialized form, which is the only way to it: `CGMDv2:`, the generation as 4 bytes of the
    /// machine, the group, a zero, the member. A form that is not this one gives nil, and so no commits.
    private static func generation(_ pointer: OpaquePointer) -> Int32? {
        var buffer: UnsafeMutableRawPointer?
        var count = 0
        if let error = rd_kafka_consumer_group_metadata_write(pointer, &buffer, &count) {
            rd_kafka_error_destroy(error)
            return nil
        }
        guard let buffer else { return nil }
        defer { rd_kafka_mem_free(nil, buffer) }
        let bytes = UnsafeRawBufferPointer(start: buffer, count: count)
        let magic = Array("CGMDv2:".utf8)
        guard bytes.count > magic.count + 4, bytes.prefix(magic.count).elementsEqual(magic) else {
            return nil
        }
        let generation = bytes.loadUnaligned(fromByteOffset: magic.count, as: Int32.self)
        let texts = bytes.dropFirst(magic.count + 4)
        guard let end = texts.firstIndex(of: 0), end + 1 < bytes.count, bytes[end + 1] != 0 else {
            return nil
        }
        return generation
    }
}
