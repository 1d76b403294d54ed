package import Topics

/// Where a process gets the time from; tests give one that they move by hand.
package struct TimeSource: Sendable {
    /// Wall-clock time.
    package let now: @Sendable () -> Timestamp
    /// Returns after the duration, or throws `CancellationError` when the task is cancelled.
    package let sleep: @Sendable (Duration) async throws -> Void

    package init(
        now: @escaping @Sendable () -> Timestamp,
        sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.now = now
        self.sleep = sleep
    }
}

/// Where ids and chance come from.
package struct ChanceSource: Sendable {
    /// A new UUIDv7: unique, and rising with time.
    package let identifier: @Sendable () -> String
    /// Uniform in 0 ..< 1.
    package let fraction: @Sendable () -> Double

    package init(
        identifier: @escaping @Sendable () -> String,
        fraction: @escaping @Sendable () -> Double
    ) {
        self.identifier = identifier
        self.fraction = fraction
    }
}
