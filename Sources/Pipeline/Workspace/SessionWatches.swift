import Synchronization

/// The watches of a session that somebody still reads.
final class SessionWatches: Sendable {
    private struct State {
        var next = 0
        var open: [Int: AsyncStream<SessionChange>.Continuation] = [:]
    }

    private static let watchesMax = 8
    /// Of one watch, when its reader is slow; then changes are lost, and the stream says so.
    private static let changesMax = 4_096

    private let state = Mutex(State())

    /// `begin` starts to watch and returns what ends it; that is called when the reader stops, or by `end`.
    func open(
        _ begin: (AsyncStream<SessionChange>.Continuation) throws(SandboxError) -> @Sendable () -> Void
    ) throws(SandboxError) -> AsyncStream<SessionChange> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: SessionChange.self,
            bufferingPolicy: .bufferingOldest(Self.changesMax)
        )
        let number = state.withLock { state -> Int? in
            guard state.open.count < Self.watchesMax else { return nil }
            state.next += 1
            state.open[state.next] = continuation
            return state.next
        }
        guard let number else {
            throw SandboxError(.busy, "\(Self.watchesMax) watches are open in this session: end one")
        }
        do throws(SandboxError) {
            let end = try begin(continuation)
            continuation.onTermination = { [weak self] _ in
                self?.forget(number)
                end()
            }
        } catch {
            forget(number)
            throw error
        }
        return stream
    }

    func end() {
        for continuation in state.withLock({ Array($0.open.values) }) { continuation.finish() }
    }

    private func forget(_ number: Int) {
        state.withLock { $0.open[number] = nil }
    }
}
