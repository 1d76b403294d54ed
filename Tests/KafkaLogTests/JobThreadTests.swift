import Dispatch
import Pipeline
import Synchronization
import Testing

@testable import KafkaLog

@Suite("A thread for calls that block")
struct JobThreadTests {
    @Test("who waits for a call that does not come back is told when the thread is to stop")
    func stuck() async throws {
        let library = DispatchSemaphore(value: 0)
        let hasBegun = Gate()
        let hasEnded = Gate()
        let wasBegun = Mutex(false)
        let thread = try JobThread<@Sendable () -> Void>(
            "stuck",
            work: { jobs in for job in jobs { job() } },
            tick: {},
            end: { hasEnded.open() }
        )
        let first = Task {
            try await thread.run { () throws(EventLogError) in
                hasBegun.open()
                library.wait()
            }
        }
        #expect(await hasBegun.wait(within: .seconds(30)))
        #expect(thread.submit { wasBegun.withLock { $0 = true } })
        // Behind it, or refused by the time that it comes.
        let second = Task {
            try await thread.run { () throws(EventLogError) in wasBegun.withLock { $0 = true } }
        }

        #expect(await thread.stop(within: .milliseconds(50)) == false)
        let error = await #expect(throws: EventLogError.self) { try await first.value }
        let other = await #expect(throws: EventLogError.self) { try await second.value }
        #expect(error?.kind == .closed && other?.kind == .closed)

        // It comes back after all: nothing more is begun.
        library.signal()
        #expect(await hasEnded.wait(within: .seconds(30)))
        #expect(!wasBegun.withLock { $0 })
        await #expect(throws: EventLogError.self) { try await thread.run { () throws(EventLogError) in } }
    }
}
