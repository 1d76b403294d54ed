import Synchronization
import Testing

@testable import Pipeline

@Suite("The gate before a turn's slot is made")
struct SealGateTests {
    private final class Seen: Sendable {
        private let state = Mutex((inside: 0, most: 0, order: [Int]()))

        var most: Int { state.withLock { $0.most } }
        var order: [Int] { state.withLock { $0.order } }

        func enter(_ number: Int) {
            state.withLock { state in
                state.inside += 1
                state.most = max(state.most, state.inside)
                state.order.append(number)
            }
        }

        func leave() { state.withLock { $0.inside -= 1 } }
    }

    @Test("never more are inside than there are places, and all come through")
    func bounds() async {
        let gate = SealGate(places: 3)
        let seen = Seen()

        await withDiscardingTaskGroup { group in
            for number in 0..<500 {
                group.addTask {
                    await gate.enter()
                    seen.enter(number)
                    for _ in 0..<3 { await Task.yield() }
                    seen.leave()
                    gate.leave()
                }
            }
        }

        #expect(seen.most == 3)
        #expect(seen.order.sorted() == Array(0..<500))
    }

    @Test("who comes first enters first")
    func keepsOrder() async {
        let gate = SealGate(places: 1)
        let seen = Seen()
        await gate.enter()

        await withDiscardingTaskGroup { group in
            for number in 0..<20 {
                group.addTask {
                    await gate.enter()
                    seen.enter(number)
                    gate.leave()
                }
                while gate.waitingCount <= number { await Task.yield() }
            }
            gate.leave()
        }

        #expect(seen.order == Array(0..<20))
        #expect(gate.waitingCount == 0)
    }
}
