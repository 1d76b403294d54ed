import Dispatch
import Pipeline
import Synchronization

/// A thread that does jobs in order, those that have come together at once.
final class JobThread<Job: Sendable>: Sendable {
    private struct State {
        var jobs: [Job] = []
        var isStopping = false
    }

    private let state = Mutex(State())
    private let over = Gate()
    private let bell = DispatchSemaphore(value: 0)

    /// `tick` is called about ten times a second while there is no job; `end` once, at last, after the jobs
    /// that came before `stop`. All on the thread.
    init(
        _ name: String,
        work: @escaping @Sendable ([Job]) -> Void,
        tick: @escaping @Sendable () -> Void,
        end: @escaping @Sendable () -> Void
    ) throws(EventLogError) {
        try KafkaThread.start(name) { [self] in
            while true {
                _ = bell.wait(timeout: .now() + .milliseconds(100))
                let (jobs, isStopping) = state.withLock { state in
                    defer { state.jobs = [] }
                    return (state.jobs, state.isStopping)
                }
                if !jobs.isEmpty { work(jobs) } else { tick() }
                if isStopping, jobs.isEmpty { break }
            }
            end()
            over.open()
        }
    }

    /// False once the thread was told to stop: the job is not done then.
    func submit(_ job: Job) -> Bool {
        let isTaken = state.withLock { state in
            guard !state.isStopping else { return false }
            state.jobs.append(job)
            return true
        }
        if isTaken { bell.signal() }
        return isTaken
    }

    /// Returns when the thread has ended, or after so long: false then, and the thread ends by itself later.
    func stop(within limit: Duration) async -> Bool {
        state.withLock { $0.isStopping = true }
        bell.signal()
        return await over.wait(within: limit)
    }
}

extension JobThread where Job == @Sendable () -> Void {
    /// Runs the body on the thread.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(EventLogError) -> Value
    ) async throws(EventLogError) -> Value {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, EventLogError>, Never>) in
            let isTaken = submit {
                do throws(EventLogError) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
            if !isTaken {
                continuation.resume(returning: .failure(EventLogError(.closed, "the log was closed")))
            }
        }
        return try result.get()
    }
}
