extension ReceiveError {
    /// What the sender gets; `methods` are those that the path allows.
    package func response(allowing methods: [String]) -> HTTPResponse {
        switch kind {
        case .unauthenticated:
            var response = HTTPResponse.error(401, detail)
            response.fields["WWW-Authenticate"] = "Bearer"
            return response
        case .forbidden: return .error(403, detail)
        case .malformed: return .error(400, detail)
        case .methodNotAllowed: return .methodNotAllowed(methods)
        case .unsupportedMediaType: return .error(415, detail)
        case .unavailable:
            var response = HTTPResponse.error(503, detail)
            response.fields["Retry-After"] = "5"
            return response
        }
    }
}
