import Pipeline
import Synchronization
import Testing

@testable import PenstockTool

@Suite("What a process waits for at its start")
struct PatienceTests {
    private final class Calls: Sendable {
        private let count = Mutex(0)
        var next: Int {
            count.withLock { count in
                count += 1
                return count
            }
        }
    }

    private static let absences: [any Error & Sendable] = [
        EventLogError(.unavailable, "no broker"), ObjectStoreError(.unreachable, "503"),
    ]

    @Test("waits for what is not there yet", arguments: absences.indices)
    func waits(index: Int) async throws {
        let calls = Calls()

        let answer = try await Patience.wait(.instant, { false }) {
            let call = calls.next
            if call < 4 { throw Self.absences[index] }
            return call
        }

        #expect(answer == 4)
    }

    @Test("does not wait for what will not change")
    func refuses() async throws {
        let calls = Calls()
        await #expect(throws: ObjectStoreError.self) {
            try await Patience.wait(.instant, { false }) {
                _ = calls.next
                throw ObjectStoreError(.denied, "403")
            }
        }
        #expect(calls.next == 2)
    }

    @Test("waits no longer than it is wanted", arguments: absences.indices)
    func stops(index: Int) async throws {
        let calls = Calls()
        await #expect(throws: (any Error).self) {
            try await Patience.wait(.instant, { calls.next > 20 }) { throw Self.absences[index] }
        }
    }
}

extension TimeSource {
    /// Its sleeps are over at once.
    fileprivate static let instant = TimeSource(now: TimeSource.system.now, sleep: { _ in })
}
