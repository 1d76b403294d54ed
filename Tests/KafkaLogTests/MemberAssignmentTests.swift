import Pipeline
import Testing

@testable import KafkaLog

@Suite("What a member was given")
struct MemberAssignmentTests {
    /// Version 1; topic `ab` with partitions 0 and 258, topic `c` with none; no bytes of the assignor's.
    private static let bytes: [UInt8] =
        [0, 1, 0, 0, 0, 2, 0, 2, 0x61, 0x62, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2]
        + [0, 1, 0x63, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]

    @Test("topics and partitions are read, and what is cut short is not")
    func reads() {
        #expect(
            MemberAssignment.places(Self.bytes) == [TopicPartition("ab", 0), TopicPartition("ab", 258)]
        )
        #expect(MemberAssignment.places([]) == [])
        for count in 1..<Self.bytes.count - 4 {
            #expect(MemberAssignment.places(Array(Self.bytes.prefix(count))) == nil, "\(count) bytes")
        }
    }
}
