package enum Deadline {
    /// Runs the body; cancels it once the duration has passed, and waits for it to end even then.
    package static func run<Value: Sendable>(
        _ duration: Duration,
        time: TimeSource,
        _ body: @escaping @Sendable () async -> Value
    ) async -> (value: Value, isLate: Bool) {
        await withTaskGroup(of: Value?.self) { group in
            group.addTask { await body() }
            group.addTask {
                // Cancelled means that the body was first; there is nothing to tell.
                try? await time.sleep(duration)
                return nil
            }
            var isLate = false
            for await value in group {
                group.cancelAll()
                if let value { return (value, isLate) }
                isLate = true
            }
            preconditionFailure("the body gave no value")
        }
    }
}
