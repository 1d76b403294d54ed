import JSON
package import Pipeline
import Synchronization

/// Where a model is and how it is reached; both providers are made from it.
package struct RemoteModel: Sendable {
    package let baseURL: String
    package let model: String
    /// Read on each use, so that a rotated key needs no restart; nil when the server wants none.
    package let key: @Sendable () throws -> String?
    package let transport: any HTTPTransport
    package let limits: HTTPLimits

    /// A slash at the base URL's end does not matter.
    package init(
        baseURL: String,
        model: String,
        transport: any HTTPTransport,
        limits: HTTPLimits,
        key: @escaping @Sendable () throws -> String?
    ) {
        var base = baseURL[...]
        while base.last == "/" { base.removeLast() }
        self.baseURL = String(base)
        self.model = model
        self.transport = transport
        self.limits = limits
        self.key = key
    }

    func readKey(_ provider: String) throws(ModelError) -> String? {
        do {
            return try key()
        } catch {
            throw ModelError(.permanent, "\(provider): the API key can not be read: \(error)")
        }
    }

    /// Sends the request once and streams the answer's text.
    func ask<Answer: ModelAnswer>(
        _ request: HTTPRequest,
        as _: Answer.Type,
        name: String,
        key: String?,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        do throws(ModelError) {
            let body = Shared(ModelBody<Answer>())
            let response = try await send(request, into: body, part)
            guard (200..<300).contains(response.status) else {
                throw ModelRefusal.error(response)
            }
            let (text, answer) = try body.update { body throws(ModelError) in try body.finish() }
            if !text.isEmpty { await part(.text(text)) }
            return answer
        } catch {
            var detail = "\(name): \(error.detail)"
            if let key, !key.isEmpty { detail = detail.replacing(key, with: "…") }
            throw ModelError(error.kind, detail)
        }
    }

    private func send<Answer: ModelAnswer>(
        _ request: HTTPRequest,
        into body: Shared<ModelBody<Answer>>,
        _ part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> HTTPResponse {
        let refused = Shared<ModelError?>(nil)
        do throws(HTTPTransportError) {
            return try await transport.stream(request, limits: limits) { bytes in
                do throws(ModelError) {
                    let text = try body.update { body throws(ModelError) in try body.take(bytes) }
                    if !text.isEmpty { await part(.text(text)) }
                } catch {
                    refused.update { $0 = error }
                    throw error
                }
            }
        } catch {
            if let refused = refused.update({ $0 }) { throw refused }
            switch error.kind {
            case .unreachable, .interrupted, .limit: throw ModelError(.transient, error.detail)
            case .invalid: throw ModelError(.permanent, error.detail)
            case .cancelled: throw ModelError(.cancelled, error.detail)
            }
        }
    }
}

/// A value that the pieces of one body are folded into, one at a time.
private final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) {
        self.value = Mutex(value)
    }

    func update<Result: Sendable, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // Mutex does not keep the type of an error through `inout sending`, so the outcome is a value here.
        let outcome = value.withLock { value in
            do throws(Failure) {
                return Swift.Result<Result, Failure>.success(try body(&value))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}
