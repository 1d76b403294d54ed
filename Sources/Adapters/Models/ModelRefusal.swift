import JSON
import Pipeline

/// What a provider means by an error: both use the same words and statuses in most cases.
enum ModelRefusal {
    private static let wordsMax = 300

    /// For an answer that is no 2xx.
    static func error(_ response: HTTPResponse) -> ModelError {
        // A page of a proxy is as likely as JSON; then the status alone decides.
        let body = try? JSONValue(json: response.body)
        let (type, words) =
            body.map(read) ?? ("", String(decoding: response.body.prefix(wordsMax), as: UTF8.self))
        let detail = "\(response.status) \(type) \(words)".clean(wordsMax)
        switch response.status {
        case 429, 529: return ModelError(.throttled(retryAfter: delay(response, type)), detail)
        case 503 where response.retryAfter != nil:
            return ModelError(.throttled(retryAfter: response.retryAfter), detail)
        case 408, 409, 425, 500...: return ModelError(kind(type) ?? .transient, detail)
        default: return ModelError(.permanent, detail)
        }
    }

    /// For an error object that came in the stream, after a 200: nil when this is none.
    static func error(in event: JSONValue) -> ModelError? {
        let error = event["error"]
        guard let error, error != .null else { return nil }
        let (type, words) = read(event)
        let status = error["code"]?.integerValue ?? error["status"]?.integerValue ?? 0
        let detail = "in its stream: \(type) \(words)".clean(wordsMax)
        if let kind = kind(type) { return ModelError(kind, detail) }
        switch status {
        case 429, 529: return ModelError(.throttled(retryAfter: nil), detail)
        case 400..<500 where status != 408 && status != 409: return ModelError(.permanent, detail)
        default: return ModelError(.transient, detail)
        }
    }

    private static func kind(_ type: String) -> ModelError.Kind? {
        switch type {
        case "overloaded_error", "rate_limit_error", "rate_limit_exceeded": .throttled(retryAfter: nil)
        case "insufficient_quota": .throttled(retryAfter: .seconds(60))
        case "api_error", "timeout_error", "server_error": .transient
        case "invalid_request_error", "authentication_error", "permission_error", "not_found_error",
            "request_too_large", "billing_error", "context_length_exceeded":
            .permanent
        default: nil
        }
    }

    /// The type (or code) and the message, wherever this server puts them.
    private static func read(_ body: JSONValue) -> (type: String, words: String) {
        let error = body["error"] ?? body
        let code = error["code"]?.stringValue
        let type = code.flatMap { kind($0) == nil ? nil : $0 } ?? error["type"]?.stringValue ?? code ?? ""
        let words =
            error["message"]?.stringValue ?? error.stringValue ?? body["message"]?.stringValue
            ?? body["detail"]?.stringValue ?? ""
        return (type, words)
    }

    private static func delay(_ response: HTTPResponse, _ type: String) -> Duration? {
        if let text = response.fields["retry-after-ms"], let milliseconds = Int(strictly: text) {
            return .milliseconds(min(milliseconds, 86_400_000))
        }
        // An account without money does not mend in a second.
        return response.retryAfter ?? (type == "insufficient_quota" ? .seconds(60) : nil)
    }
}

extension String {
    /// One line of at most so many characters, without control characters.
    fileprivate func clean(_ count: Int) -> String {
        String(
            String.UnicodeScalarView(unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 })
                .prefix(count)
        )
    }
}
