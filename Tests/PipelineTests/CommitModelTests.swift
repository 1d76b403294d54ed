import Pipeline
import Testing

/// A search through every state of `CommitModel`: crashes anywhere, a partition that moves and comes back, a
/// store whose answer is lost.
@Suite("Turn and commit, every order")
struct CommitModelTests {
    private struct Search {
        var states = 0
        /// Ends in which every event is done.
        var completed = 0
        /// Ends in which one is not, and nothing can happen any more.
        var stuck: CommitModel?
        var violation: String?
    }

    /// Stops at the first state that must not be.
    private func search(_ rules: CommitModel.Rules) -> Search {
        var search = Search()
        let first = CommitModel(rules)
        var seen: Set<CommitModel> = [first]
        var queue = [first]
        var start = 0
        while start < queue.count {
            let model = queue[start]
            start += 1
            if let violation = model.violation(rules) {
                search.violation = violation
                break
            }
            let next = model.successors(rules)
            let isDone = rules.conversations.indices.allSatisfy(model.progress.isDone)
            if isDone { search.completed += 1 } else if next.isEmpty { search.stuck = model }
            for model in next where seen.insert(model).inserted { queue.append(model) }
        }
        search.states = seen.count
        return search
    }

    /// With two conversations, where far more can happen side by side, one mishap in each history. Three give
    /// 1,284,957 states, none of them bad: 84 s when optimised, too long here.
    @Test(
        "each event has one reply, in order, and it is the slot's",
        arguments: [([0, 0], 3, 20_000), ([0, 1], 1, 3_000)]
    )
    func sound(conversations: [Int], mishaps: Int, statesMin: Int) {
        var rules = CommitModel.Rules(conversations: conversations)
        rules.limits.together = mishaps
        let found = search(rules)

        print("model check: conversations \(conversations), \(mishaps) mishaps, \(found.states) states")
        #expect(found.violation == nil)
        #expect(found.stuck == nil)
        #expect(found.states > statesMin && found.completed > 0)
    }

    @Test("a broken rule is found", arguments: Breakage.allCases)
    func broken(rule: Breakage) {
        // A gap in what is done needs two conversations; the rest shows in one.
        let conversations = rule == .noBitmap ? [0, 1] : [0, 0]
        var rules = CommitModel.Rules(conversations: conversations, broken: rule)
        if rule == .noBitmap { rules.limits.together = 1 }
        let found = search(rules)

        print("model check: \(rule): \(found.violation ?? "nothing found") after \(found.states) states")
        #expect(found.violation != nil)
    }

    @Test("a slot that names its events tells a lost response from a rival even without a put id")
    func withoutPutIDs() {
        var rules = CommitModel.Rules(conversations: [0, 0], hidesPutIDs: true)
        rules.limits.together = 2
        let found = search(rules)

        #expect(found.violation == nil && found.stuck == nil)
    }
}
