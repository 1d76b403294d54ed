import Pipeline
import Testing

@testable import KafkaLog

@Suite("Kafka: when a member starts over")
struct ShutOutTests {
    private let fenced = EventLogError(.fenced, "FENCED_INSTANCE_ID")

    @Test("while all brokers answer it is a rival's doing, soon after one was missing it is not")
    func judged() {
        let now = ContinuousClock.now
        var state = KafkaConsumer.State()
        #expect(state.judged(fenced, now: now).kind == .fenced)
        state.missedBrokerAt = now
        #expect(state.judged(fenced, now: now + .seconds(59)).kind == .closed)
        #expect(state.judged(fenced, now: now + .seconds(60)).kind == .fenced)
        #expect(state.judged(EventLogError(.invalid, ""), now: now).kind == .invalid)
    }

    @Test("a commit that does not come back is given up")
    func stuck() {
        let now = ContinuousClock.now
        var state = KafkaConsumer.State()
        #expect(state.stuckCommit(now: now) == nil)
        state.commitSince = now
        #expect(state.stuckCommit(now: now + .seconds(45)) == nil)
        #expect(state.stuckCommit(now: now + .seconds(46))?.kind == .closed)
    }
}
