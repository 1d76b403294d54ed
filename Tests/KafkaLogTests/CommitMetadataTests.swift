@testable import KafkaLog
import Pipeline
import PipelineTesting
import Testing

@Suite("Commit metadata")
struct CommitMetadataTests {
    @Test("is CRC-32 as zip has it")
    func checkValue() {
        #expect(CRC32.checksum(Array("123456789".utf8)) == 0xCBF4_3926)
    }

    @Test("gives back every pattern, and fits what a broker takes", arguments: 0..<40)
    func patterns(seed: Int) throws {
        var random = SplitMix(seed: UInt64(seed))
        let low = Int64(random.next() % 1_000_000_000_000)
        var progress = Progress(low: low)
        let share = random.next() % 101
        for offset in low + 1..<low + Progress.window where random.next() % 100 < share {
            progress.finish(offset)
        }
        // The last one makes the text as long as it can be.
        progress.finish(low + Progress.window - 1)

        let text = CommitMetadata.encode(progress)

        #expect(text.utf8.count <= CommitMetadata.bytesMax)
        #expect(text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        #expect(CommitMetadata.decode(text, low: low) == progress)
    }

    @Test("counts from its own offset only, and not when a bit has changed")
    func bound() throws {
        var progress = Progress(low: 100)
        progress.finish(107)
        let text = CommitMetadata.encode(progress)
        var other = Array(text.utf8)
        other[8] = other[8] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")

        #expect(CommitMetadata.decode(text, low: 101) == nil)
        #expect(CommitMetadata.decode(String(decoding: other, as: UTF8.self), low: 100) == nil)
        #expect(CommitMetadata.decode("another tool's", low: 100) == nil)
    }

    @Test("an empty text is a group set to an offset by another tool")
    func empty() {
        #expect(CommitMetadata.decode("", low: 7) == Progress(low: 7))
    }
}

@Suite("Progress of a partition")
struct HoldingTests {
    private func holding(_ progress: Progress) -> Holding {
        Holding(Assignment(partition: TopicPartition("t", 0), progress: progress, freshFrom: 0))
    }

    private func take(_ holding: inout Holding, _ offset: Int64) -> Bool { holding.take(offset) }

    @Test("offsets that no record has count as done")
    func gaps() {
        var holding = holding(Progress(low: 10))

        #expect(take(&holding, 10))
        #expect(take(&holding, 13))
        holding.finish([13])
        #expect(holding.assignment.progress.low == 10)
        holding.finish([10])
        #expect(holding.assignment.progress.low == 14)
        holding.pass(to: 20)

        #expect(holding.assignment.progress == Progress(low: 20))
    }

    @Test("a gap wider than the window lets the partition go on")
    func wideGap() {
        var holding = holding(Progress(low: 0))

        #expect(take(&holding, 3 * Progress.window))

        #expect(holding.assignment.progress.low == 3 * Progress.window)
    }

    @Test("an offset that was handed over is not taken again")
    func repeated() {
        var holding = holding(Progress(low: 5))

        #expect(take(&holding, 5))
        #expect(!take(&holding, 5))
        #expect(!take(&holding, 4))
        #expect(take(&holding, 6))
    }

    @Test("looking ahead changes nothing")
    func pure() {
        var holding = holding(Progress(low: 0))
        _ = holding.take(0)
        _ = holding.take(2)

        #expect(holding.progress(finishing: [0]).low == 2)
        #expect(holding.assignment.progress.low == 0)
    }

    @Test("what is done is fitted to what the partition has")
    func bounded() {
        var progress = Progress(low: 10)
        progress.finish(12)
        progress.finish(30)

        #expect(MemberLoop.bounded(nil, first: 4, end: 9) == Progress(low: 4))
        #expect(MemberLoop.bounded(progress, first: 0, end: 31) == progress)
        // Above the end: other records will be there.
        #expect(MemberLoop.bounded(progress, first: 0, end: 20).doneAbove == [12])
        // Below the first kept one: gone.
        #expect(MemberLoop.bounded(progress, first: 12, end: 40).low == 13)
        // The partition was cut: nothing that comes is skipped.
        #expect(MemberLoop.bounded(progress, first: 0, end: 8) == Progress(low: 8))
    }
}

@Suite("The time between two commits")
struct CommitSpacingTests {
    @Test("is half as old as the last commit took, within limits")
    func spacing() {
        #expect(KafkaConsumer.spacing(after: .zero) == .milliseconds(4))
        #expect(KafkaConsumer.spacing(after: .milliseconds(20)) == .milliseconds(10))
        #expect(KafkaConsumer.spacing(after: .seconds(5)) == .milliseconds(15))
    }
}

@Suite("Kafka settings")
struct KafkaSettingsTests {
    private func error(_ properties: [String: String]) -> EventLogError? {
        let settings = KafkaSettings(bootstrap: "127.0.0.1:1", instance: "test", properties: properties)
        return #expect(throws: EventLogError.self) { try KafkaLog(settings, chance: .system) }
    }

    @Test("properties that the guarantees rest on are refused", arguments: ["acks", "transactional.id"])
    func reserved(name: String) {
        #expect(error([name: "1"])?.detail.contains(name) == true)
    }

    @Test(
        "an unknown property or value is refused with its name",
        arguments: [
            ("no.such.property", "1"), ("group.protocol", "consumer"),
            ("security.protocol", "carrier pigeon"),
            ("partition.assignment.strategy", "by-lot"),
        ]
    )
    func unknown(name: String, value: String) {
        let error = error([name: value])

        #expect(error?.kind == .invalid)
        #expect(error?.detail.contains(name) == true)
    }
}
