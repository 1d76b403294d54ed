import Foundation
import Testing

extension EndToEndTests {
    @Test("whenever it is killed, every event is answered once, in order, and the state is their fold")
    func kills() async throws {
        let seed = Chance.seed
        // An event that is under way in five crashes is taken for their cause; here it is only unlucky.
        let world = try World(attemptsMax: 20)
        world.platforms.inject([
            .dropAnswer, .status(503, retryAfter: nil), .dropRequest, .dropAnswer,
            .status(429, retryAfter: 1),
        ])
        let loop = KillLoop(world: world, conversations: 12, messages: 30, seed: seed)

        try await blocking { try loop.run() }
        let last = try await world.start()
        let isDelivered = try await blocking { world.platforms.wait(seconds: 60) { $0.count >= 360 } }
        let status = try await last.stop()
        let check = try await KillLoopCheck(loop)

        print(
            "kill -9: SEED=\(seed), \(loop.kills) kills (\(loop.killsAtWork) at work), \(loop.sends) sends,",
            "\(check.eventCount) events on the log, \(check.turnCount) turns,",
            "\(world.platforms.posts.count) delivered, \(check.problems.count) problems"
        )
        let problems = check.problems.prefix(20).map { String($0.prefix(300)) }.joined(separator: "\n")
        #expect(check.problems.isEmpty, "SEED=\(seed)\n\(problems)")
        #expect(loop.killsAtWork >= 10, "SEED=\(seed)")
        #expect(isDelivered && status == 0, "SEED=\(seed) \(last.errors.suffix(2_000))")
    }
}
