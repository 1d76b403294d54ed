import Testing

@testable import KafkaLog

@Suite("A group's partitions that are nobody's")
struct GroupWatchTests {
    private let start = ContinuousClock.now

    private func time(_ pauses: Int) -> ContinuousClock.Instant { start + GroupWatch.pause * pauses }

    /// What each look says, one pause after the other, until no other look is due.
    private func looks(_ watch: inout GroupWatch, _ seen: [Bool?]) -> [Bool] {
        var answers: [Bool] = []
        for (index, hasOrphans) in seen.enumerated() {
            guard watch.isDue(now: time(index + 1)) else { break }
            answers.append(watch.saw(hasOrphans: hasOrphans, now: time(index + 1)))
        }
        return answers
    }

    @Test("seen twice with nothing in between, the group shares anew, once")
    func twice() {
        var watch = GroupWatch()
        watch.assigned(now: start)
        #expect(!watch.isDue(now: start))

        #expect(looks(&watch, [true, true, true]) == [false, true])

        watch.assigned(now: time(3))
        #expect(!watch.isDue(now: time(99)))
    }

    @Test("seen once, while a hand-over is under way, is nothing")
    func once() {
        var watch = GroupWatch()
        watch.assigned(now: start)

        #expect(looks(&watch, [true, false, true]) == [false, false])
    }

    @Test("another round in between is the end of it: the group has shared anew")
    func round() {
        var watch = GroupWatch()
        watch.assigned(now: start)
        #expect(looks(&watch, [true]) == [false])

        watch.assigned(now: time(1))

        #expect(!watch.isDue(now: time(99)))
    }

    @Test("what can not be told is looked at again")
    func unknown() {
        var watch = GroupWatch()
        watch.assigned(now: start)

        #expect(looks(&watch, [nil, true, nil, true]) == [false, false, false, true])
    }
}
