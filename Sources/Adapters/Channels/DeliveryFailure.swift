import Pipeline

/// A request to a platform that brought no answer.
struct DeliveryFailure: Error {
    let result: DeliveryResult
    let reason: String

    static func secret(_ name: String, _ source: SecretSource) throws(DeliveryFailure) -> String {
        let reason: String
        do {
            if let secret = try source().first(where: { !$0.isEmpty }) { return secret }
            reason = "\(name) is not set"
        } catch {
            reason = "\(name) cannot be read: \(error)"
        }
        // Waits for the operator; the replies are kept.
        throw Self(result: .retry(after: .seconds(60), throttled: true, reason: reason), reason: reason)
    }

    static func sending(
        _ request: HTTPRequest,
        over transport: any HTTPTransport,
        limits: HTTPLimits
    ) async throws(DeliveryFailure) -> HTTPResponse {
        do throws(HTTPTransportError) {
            return try await transport.send(request, limits: limits)
        } catch {
            let result: DeliveryResult =
                switch error.kind {
                case .unreachable: .retry(after: nil, throttled: false, reason: error.detail)
                case .interrupted, .limit, .cancelled: .ambiguous(reason: error.detail)
                case .invalid: .failed(code: "invalid_request", reason: error.detail)
                }
            throw Self(result: result, reason: error.detail)
        }
    }
}
