import Pipeline
import Synchronization

/// Answers every request with one body, in the pieces given, and keeps what was asked.
final class StreamingTransport: HTTPTransport {
    private let response: HTTPResponse
    private let pieces: [[UInt8]]
    private let failure: HTTPTransportError?
    private let asked = Mutex<[HTTPRequest]>([])

    var requests: [HTTPRequest] { asked.withLock { $0 } }

    /// The failure is thrown after the pieces.
    init(
        status: Int = 200,
        _ pieces: [[UInt8]],
        fields: HTTPFields = HTTPFields(),
        failure: HTTPTransportError? = nil
    ) {
        response = HTTPResponse(status: status, fields: fields)
        self.pieces = pieces
        self.failure = failure
    }

    convenience init(status: Int = 200, _ body: String, fields: HTTPFields = HTTPFields()) {
        self.init(status: status, [Array(body.utf8)], fields: fields)
    }

    func send(_ request: HTTPRequest, limits: HTTPLimits) async throws(HTTPTransportError) -> HTTPResponse {
        try await stream(request, limits: limits) { _ in }
    }

    func stream(
        _ request: HTTPRequest,
        limits: HTTPLimits,
        receive: @Sendable ([UInt8]) async throws -> Void
    ) async throws(HTTPTransportError) -> HTTPResponse {
        asked.withLock { $0.append(request) }
        var response = response
        for piece in pieces {
            guard (200..<300).contains(response.status) else {
                response.body += piece
                continue
            }
            do {
                try await receive(piece)
            } catch {
                throw HTTPTransportError(.cancelled, "the receiver stopped")
            }
        }
        if let failure { throw failure }
        return response
    }
}
