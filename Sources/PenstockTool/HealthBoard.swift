import JSON
import Pipeline
import Synchronization
import Topics

/// What each part of the process says of itself, and since when.
final class HealthBoard: Sendable {
    private struct Part {
        var isReady: Bool
        var reason: String
        var since: Timestamp
    }

    private let time: TimeSource
    private let parts = Mutex<[String: Part]>([:])
    private let hasStarted = Mutex(false)

    init(time: TimeSource) {
        self.time = time
    }

    func report(_ name: String, isReady: Bool, _ reason: String) {
        let now = time.now()
        parts.withLock { parts in
            if let part = parts[name], part.isReady == isReady, part.reason == reason { return }
            let since = parts[name].map { $0.isReady == isReady ? $0.since : now } ?? now
            parts[name] = Part(isReady: isReady, reason: reason, since: since)
        }
        if isAllReady { hasStarted.withLock { $0 = true } }
    }

    private var isAllReady: Bool {
        parts.withLock { parts in !parts.isEmpty && parts.values.allSatisfy(\.isReady) }
    }

    var live: HTTPResponse { .json(200, ["status": "live"]) }

    var ready: HTTPResponse { answer(isAllReady) }

    var started: HTTPResponse { answer(hasStarted.withLock { $0 }) }

    private func answer(_ isGood: Bool) -> HTTPResponse {
        let parts = parts.withLock { parts in
            parts.mapValues { part in
                JSONValue.object([
                    "ready": .bool(part.isReady), "state": .string(part.reason),
                    "since": .string(part.since.rfc3339),
                ])
            }
        }
        return .json(isGood ? 200 : 503, ["ready": .bool(isGood), "parts": .object(parts)])
    }
}
