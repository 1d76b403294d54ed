import CCurl
import Pipeline
import Synchronization

/// One request on its way: what libcurl's callbacks fill in, and what its caller waits for.
final class CurlTransfer: @unchecked Sendable {
    // Safe to share: `state` is locked; `easy`, `body` and `list` belong to the engine's thread once it has
    // started.
    enum Outcome {
        case response(HTTPResponse)
        case failure(HTTPTransportError)
    }

    private struct State {
        var pieces: [[UInt8]] = []
        var queuedBytes = 0
        var isPaused = false
        var outcome: Outcome?
        var waiter: CheckedContinuation<Void, Never>?
        var isCancelled = false
    }

    /// Streaming stops reading above the first and goes on below the second.
    private static let queuedBytesMax = 256 * 1_024
    private static let queuedBytesLow = 64 * 1_024

    let request: HTTPRequest
    let limits: HTTPLimits
    let isStreaming: Bool
    /// When all of it is to be over.
    let deadline: ContinuousClock.Instant
    /// Set by the engine: makes it go on reading, or drop the transfer.
    let engine: CurlEngine
    private let state = Mutex(State())

    // The engine's thread only.
    var easy: UnsafeMutableRawPointer?
    var shard = 0
    var list: UnsafeMutablePointer<curl_slist>?
    /// libcurl keeps the pointer: the bytes stay put until the transfer is over.
    var body: UnsafeMutablePointer<UInt8>?
    var fields = HTTPFields()
    var bodyCount = 0
    var collected: [UInt8] = []
    var sends = 0
    /// It has had its connection.
    var hasStarted = false
    var isOverLimit = false
    var headCount = 0
    var isHeadOverLimit = false
    /// A wrong resend was stopped.
    var isResendStopped = false

    init(_ request: HTTPRequest, limits: HTTPLimits, isStreaming: Bool, engine: CurlEngine) {
        self.request = request
        self.limits = limits
        self.isStreaming = isStreaming
        self.engine = engine
        deadline = .now + min(limits.total, .seconds(1 << 32))
    }

    deinit {
        body?.deallocate()
    }

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// For the log: without the query, which may hold secrets.
    var place: String { "\(request.method) \(request.target.prefix { $0 != "?" })" }

    /// Host and port, as the target writes them.
    var host: String {
        let target = request.target[...]
        let slashes = target.firstRange(of: "://").map { target[$0.upperBound...] } ?? target
        return slashes.prefix { $0 != "/" && $0 != "?" && $0 != "#" }.lowercased()
    }

    /// A piece of a streamed body; nil when there are no more.
    func nextPiece() async -> [UInt8]? {
        while true {
            let (piece, resumes, isOver) = state.withLock { state -> ([UInt8]?, Bool, Bool) in
                guard !state.pieces.isEmpty else { return (nil, false, state.outcome != nil) }
                let piece = state.pieces.removeFirst()
                state.queuedBytes -= piece.count
                let resumes = state.isPaused && state.queuedBytes < Self.queuedBytesLow
                if resumes { state.isPaused = false }
                return (piece, resumes, false)
            }
            if resumes { engine.resume(self) }
            if let piece { return piece }
            if isOver { return nil }
            await wait()
        }
    }

    func outcome() async -> Outcome {
        while true {
            // Pieces that nobody wants any more would end every wait at once.
            let outcome = state.withLock { state in
                state.pieces = []
                return state.outcome
            }
            if let outcome { return outcome }
            await wait()
        }
    }

    func cancel() {
        let isFirst = state.withLock { state in
            defer { state.isCancelled = true }
            return !state.isCancelled
        }
        if isFirst { engine.cancel(self) }
    }

    private func wait() async {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                if state.outcome != nil || !state.pieces.isEmpty { return true }
                state.waiter = continuation
                return false
            }
            if isReady { continuation.resume() }
        }
    }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state in
            change(&state)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    // What follows is called on the engine's thread.

    /// False when the transfer is to end here.
    func take(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        bodyCount += bytes.count
        guard bodyCount <= limits.bodyBytesMax else {
            isOverLimit = true
            return false
        }
        let status = penstock_easy_status(easy)
        guard isStreaming, (200..<300).contains(status) else {
            collected.append(contentsOf: bytes)
            return true
        }
        let piece = Array(bytes)
        wake { state in
            state.pieces.append(piece)
            state.queuedBytes += piece.count
        }
        return true
    }

    /// Whether libcurl is to stop reading for now; it delivers the same bytes again later.
    func mustPause() -> Bool {
        state.withLock { state in
            guard state.queuedBytes >= Self.queuedBytesMax, !state.isCancelled else { return false }
            state.isPaused = true
            return true
        }
    }

    func finish(_ outcome: Outcome) {
        wake { $0.outcome = $0.outcome ?? outcome }
    }

    func failure(_ code: CURLcode) -> HTTPTransportError {
        let detail = "\(place): \(String(cString: curl_easy_strerror(code)))"
        if isCancelled { return HTTPTransportError(.cancelled, "\(place): cancelled") }
        if isOverLimit {
            return HTTPTransportError(
                .limit,
                "\(place): the answer has more than \(limits.bodyBytesMax) bytes"
            )
        }
        if isHeadOverLimit {
            return HTTPTransportError(.limit, "\(place): the answer's head is too long")
        }
        if isResendStopped {
            return HTTPTransportError(.interrupted, "\(place): the connection closed before an answer")
        }
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_FUNCTION_ARGUMENT:
            return HTTPTransportError(.invalid, detail)
        case CURLE_OPERATION_TIMEDOUT where sends > 0: return HTTPTransportError(.limit, detail)
        default: return HTTPTransportError(sends == 0 ? .unreachable : .interrupted, detail)
        }
    }
}
