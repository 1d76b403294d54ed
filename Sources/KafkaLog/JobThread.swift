import Dispatch
import Pipeline
import Synchronization

/// A thread that does jobs in order, those that have come together at once.
final class JobThread<Job: Sendable>: Sendable {
    private struct State {
        var jobs: [Job] = []
        var isStopping = false
        /// Of those who wait for a job, by a number of their own.
        var waiting: [Int: @Sendable (EventLogError) -> Void] = [:]
        var lastNumber = 0
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

    /// Returns when the thread has ended, or after so long: false then. The thread ends by itself later,
    /// without the jobs that it has not begun; who waits for one, or for the one that does not come back, is
    /// told so now.
    func stop(within limit: Duration) async -> Bool {
        state.withLock { $0.isStopping = true }
        bell.signal()
        if await over.wait(within: limit) { return true }
        let waiting = state.withLock { state in
            defer { (state.jobs, state.waiting) = ([], [:]) }
            return state.waiting.values
        }
        for fail in waiting { fail(EventLogError(.closed, "librdkafka does not come back")) }
        return false
    }
}

/// What somebody waits for: given once, and nothing more is wanted then.
struct JobAnswer<Value: Sendable>: Sendable {
    let isWanted: @Sendable () -> Bool
    let give: @Sendable (Result<Value, EventLogError>) -> Void
}

extension JobThread {
    /// Waits for a job's answer. When the thread was stopped and the job did not come back in time, it may
    /// still take effect after this has thrown.
    func ask<Value: Sendable>(_ job: (JobAnswer<Value>) -> Job) async throws(EventLogError) -> Value {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, EventLogError>, Never>) in
            let number = wait { continuation.resume(returning: .failure($0)) }
            let answer = JobAnswer<Value>(
                isWanted: { [self] in state.withLock { $0.waiting[number] != nil } },
                give: { [self] result in if endWait(number) { continuation.resume(returning: result) } }
            )
            if !submit(job(answer)) { answer.give(.failure(EventLogError(.closed, "the log was closed"))) }
        }
        return try result.get()
    }

    private func wait(_ fail: @escaping @Sendable (EventLogError) -> Void) -> Int {
        state.withLock { state in
            state.lastNumber += 1
            state.waiting[state.lastNumber] = fail
            return state.lastNumber
        }
    }

    /// False when it was answered before.
    private func endWait(_ number: Int) -> Bool {
        state.withLock { $0.waiting.removeValue(forKey: number) != nil }
    }
}

extension JobThread where Job == @Sendable () -> Void {
    /// Runs the body on the thread; as `ask`.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(EventLogError) -> Value
    ) async throws(EventLogError) -> Value {
        try await ask { (answer: JobAnswer<Value>) in
            {
                guard answer.isWanted() else { return }
                do throws(EventLogError) {
                    answer.give(.success(try body()))
                } catch {
                    answer.give(.failure(error))
                }
            }
        }
    }
}
