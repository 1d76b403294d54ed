import Pipeline
import Telemetry

/// A process that serves outlives what it stands on: at its start it waits for a log or a store that does not
/// answer yet, rather than end and be started again.
enum Patience {
    private static let logger = Logger(label: "penstock")

    /// Makes the call again every two seconds, with a line for each, as long as the other side is only not
    /// there and `isStopping` is false. Any other error is thrown at once.
    static func wait<Value>(
        _ time: TimeSource,
        _ isStopping: () -> Bool,
        _ call: () async throws -> Value
    ) async throws -> Value {
        while true {
            do {
                return try await call()
            } catch {
                guard let (message, detail) = absence(error), !isStopping() else { throw error }
                logger.warning(message, metadata: [LogKeys.error: detail])
            }
            for _ in 0..<10 where !isStopping() { try await time.sleep(.milliseconds(200)) }
        }
    }

    private static func absence(_ error: any Error) -> (StaticString, String)? {
        switch error {
        case let error as EventLogError where error.kind == .unavailable:
            ("Waiting for the log", error.detail)
        case let error as ObjectStoreError where error.kind == .unreachable:
            ("Waiting for the store", error.detail)
        default: nil
        }
    }
}
