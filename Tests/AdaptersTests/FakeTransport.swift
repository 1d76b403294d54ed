import JSON
import Pipeline
import Synchronization

/// Answers requests from a list and keeps what was asked.
final class FakeTransport: HTTPTransport {
    enum Answer: Sendable {
        case response(HTTPResponse)
        case failure(HTTPTransportError.Kind)
    }

    private struct State {
        var answers: [Answer]
        var requests: [HTTPRequest] = []
    }

    private let state: Mutex<State>

    init(_ answers: [Answer]) {
        state = Mutex(State(answers: answers))
    }

    convenience init(_ status: Int, _ body: JSONValue, _ fields: HTTPFields = HTTPFields()) {
        self.init([.response(HTTPResponse(status: status, fields: fields, body: body.json))])
    }

    var requests: [HTTPRequest] { state.withLock { $0.requests } }

    func send(
        _ request: HTTPRequest,
        limits: HTTPLimits
    ) async throws(HTTPTransportError) -> HTTPResponse {
        let answer = state.withLock { state in
            state.requests.append(request)
            return state.answers.isEmpty ? Answer.failure(.unreachable) : state.answers.removeFirst()
        }
        switch answer {
        case .response(let response): return response
        case .failure(let kind): throw HTTPTransportError(kind, "fake")
        }
    }

    func stream(
        _ request: HTTPRequest,
        limits: HTTPLimits,
        receive: @Sendable ([UInt8]) async throws -> Void
    ) async throws(HTTPTransportError) -> HTTPResponse {
        try await send(request, limits: limits)
    }
}
