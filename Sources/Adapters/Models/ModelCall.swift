import JSON
import Pipeline
import Synchronization

/// One streamed request to a provider: sends it, feeds the answer's events to a fold, and says why it failed.
struct ModelCall<Fold: ModelAnswerFold>: Sendable {
    let transport: any HTTPTransport
    let name: String
    let url: String
    let fields: HTTPFields
    let body: [UInt8]

    private static var limits: HTTPLimits {
        HTTPLimits(total: .seconds(600), silence: .seconds(90), bodyBytesMax: 32 << 20)
    }

    func run(
        _ part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let request = HTTPRequest(method: "POST", target: url, fields: fields, body: body)
        let state = Mutex(Reading())
        let holder = Holder(state)
        let response: HTTPResponse
        do throws(HTTPTransportError) {
            response = try await transport.stream(request, limits: Self.limits) { bytes in
                for text in holder.take(bytes) { await part(.text(text)) }
            }
        } catch {
            throw failure(error)
        }
        guard (200..<300).contains(response.status) else { throw refusal(response) }
        return try holder.finish(name)
    }

    private struct Reading {
        var parser = EventStreamParser()
        var fold = Fold()
    }

    /// Shared with the transport's callback, which is called one piece at a time.
    private final class Holder: Sendable {
        private let state: Mutex<Reading>

        init(_ state: consuming sending Mutex<Reading>) {
            self.state = state
        }

        func take(_ bytes: [UInt8]) -> [String] {
            state.withLock { reading in
                reading.parser.feed(bytes).compactMap { reading.fold.take($0) }.filter { !$0.isEmpty }
            }
        }

        func finish(_ name: String) throws(ModelError) -> ModelResponse {
            let outcome = state.withLock { reading -> Result<ModelResponse, ModelError> in
                // A last event without its empty line still counts.
                for event in reading.parser.feed([0x0A, 0x0A]) { _ = reading.fold.take(event) }
                do throws(ModelError) {
                    return .success(try reading.fold.response())
                } catch {
                    return .failure(ModelError(error.kind, "\(name): \(error.detail)"))
                }
            }
            return try outcome.get()
        }
    }

    private func failure(_ error: HTTPTransportError) -> ModelError {
        switch error.kind {
        case .cancelled: ModelError(.cancelled, "\(name): cancelled")
        case .invalid: ModelError(.permanent, "\(name): \(error.detail)")
        case .unreachable, .interrupted, .limit: ModelError(.transient, "\(name): \(error.detail)")
        }
    }

    /// The provider's own words, cut: they help, and they hold no prompt.
    private func refusal(_ response: HTTPResponse) -> ModelError {
        // A gateway may answer anything; its status then has to do.
        let words = (try? JSONValue(json: response.body))?["error"]
        let message = words?["message"]?.stringValue ?? words?.stringValue ?? ""
        let detail = "\(name): status \(response.status) \(message.prefix(300))"
        switch response.status {
        case 429, 529: return ModelError(.throttled(retryAfter: Self.retryAfter(response)), detail)
        case 503 where response.fields["Retry-After"] != nil:
            return ModelError(.throttled(retryAfter: Self.retryAfter(response)), detail)
        case 408, 409, 425, 500...599: return ModelError(.transient, detail)
        default: return ModelError(.permanent, detail)
        }
    }

    private static func retryAfter(_ response: HTTPResponse) -> Duration? {
        response.fields["Retry-After"].flatMap { Int($0) }.map { .seconds(min(max($0, 0), 600)) }
    }
}

/// Puts a provider's stream of events together to one answer. A value: the same events give the same answer.
protocol ModelAnswerFold: Sendable {
    init()
    /// Text to show at once, if the event brings some.
    mutating func take(_ event: EventStreamParser.Event) -> String?
    /// Throws when the stream ended too early or brought an error.
    func response() throws(ModelError) -> ModelResponse
}
