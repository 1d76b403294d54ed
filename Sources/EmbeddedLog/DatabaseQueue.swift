import Dispatch
import Pipeline
import Synchronization

/// Runs jobs on a connection of its own, on a thread that is not Swift's: SQLite blocks.
///
/// For writing, the jobs that have come together share one transaction and one `fsync`; a job that fails is
/// undone alone.
final class DatabaseQueue: Sendable {
    enum Mode {
        case reading
        case writing
    }

    private struct Job: Sendable {
        let body: @Sendable (Database) throws(EventLogError) -> Void
        /// Called once the job is durable, or with why it is not.
        let done: @Sendable (EventLogError?) -> Void
    }

    private let mode: Mode
    private let queue: DispatchQueue
    private let waiting = Mutex<[Job]>([])
    // Used on `queue` only, which runs one block at a time.
    nonisolated(unsafe) private let database: Database
    private static let batchMax = 256

    init(_ mode: Mode, database: sending Database, label: String) {
        self.mode = mode
        self.database = database
        queue = DispatchQueue(label: label, qos: .userInitiated)
    }

    func run<Result: Sendable>(
        _ body: @escaping @Sendable (Database) throws(EventLogError) -> Result
    ) async throws(EventLogError) -> Result {
        let outcome = await withCheckedContinuation {
            (continuation: CheckedContinuation<Swift.Result<Result, EventLogError>, Never>) in
            let slot = ResultSlot<Result>()
            submit(
                Job(
                    body: { database throws(EventLogError) in slot.set(try body(database)) },
                    done: { error in
                        if let error { return continuation.resume(returning: .failure(error)) }
                        guard let result = slot.take() else { preconditionFailure("a job without a result") }
                        continuation.resume(returning: .success(result))
                    }
                )
            )
        }
        return try outcome.get()
    }

    private func submit(_ job: Job) {
        let isFirst = waiting.withLock { jobs in
            jobs.append(job)
            return jobs.count == 1
        }
        if isFirst { queue.async { self.drain() } }
    }

    private func drain() {
        while true {
            let batch = waiting.withLock { jobs in
                let batch = Array(jobs.prefix(Self.batchMax))
                return batch
            }
            guard !batch.isEmpty else { return }
            switch mode {
            case .reading: read(batch)
            case .writing: write(batch)
            }
            let isEmpty = waiting.withLock { jobs in
                jobs.removeFirst(batch.count)
                return jobs.isEmpty
            }
            if isEmpty { return }
        }
    }

    private func read(_ batch: [Job]) {
        for job in batch {
            do throws(EventLogError) {
                try job.body(database)
                job.done(nil)
            } catch {
                job.done(error)
            }
        }
    }

    private func write(_ batch: [Job]) {
        var outcomes: [EventLogError?] = []
        do throws(EventLogError) {
            // Immediate: a transaction that reads first and then writes fails at once when another process
            // writes.
            try database.execute("BEGIN IMMEDIATE")
            for job in batch { outcomes.append(try attempt(job)) }
            try database.execute("COMMIT")
        } catch {
            // Nothing to undo when the transaction never began or SQLite has rolled it back itself.
            try? database.execute("ROLLBACK")
            for job in batch { job.done(error) }
            return
        }
        for (job, outcome) in zip(batch, outcomes) { job.done(outcome) }
    }

    /// Nil when the job's changes are in the transaction.
    private func attempt(_ job: Job) throws(EventLogError) -> EventLogError? {
        try database.execute("SAVEPOINT job")
        do throws(EventLogError) {
            try job.body(database)
        } catch {
            guard error.kind != .unavailable else { throw error }
            try database.execute("ROLLBACK TO job")
            try database.execute("RELEASE job")
            return error
        }
        try database.execute("RELEASE job")
        return nil
    }
}

/// Carries a job's result from the database's thread to its caller.
private final class ResultSlot<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)

    func set(_ value: Value) { self.value.withLock { $0 = value } }
    func take() -> Value? { value.withLock { $0 } }
}
