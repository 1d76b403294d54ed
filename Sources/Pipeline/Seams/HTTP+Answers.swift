package import JSON

extension HTTPRequest {
    /// The target without its query.
    package var path: String {
        String(decoding: target.utf8.prefix { $0 != UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// The body's media type in lower case, without parameters.
    package var mediaType: String? {
        guard let field = fields["Content-Type"] else { return nil }
        let space = UInt8(ascii: " ")
        var type = field.utf8.prefix { $0 != UInt8(ascii: ";") }.drop { $0 == space }
        while type.last == space { type.removeLast() }
        return Substring(type).lowercased()
    }
}

extension HTTPResponse {
    package static func empty(_ status: Int) -> Self {
        Self(status: status)
    }

    package static func text(_ status: Int, _ text: String) -> Self {
        Self(
            status: status,
            fields: ["Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"],
            body: Array(text.utf8)
        )
    }

    package static func json(_ status: Int, _ value: JSONValue) -> Self {
        Self(
            status: status,
            fields: ["Content-Type": "application/json", "X-Content-Type-Options": "nosniff"],
            body: value.json
        )
    }

    /// `{"error": detail}`
    package static func error(_ status: Int, _ detail: String) -> Self {
        json(status, ["error": .string(detail)])
    }

    package static func methodNotAllowed(_ methods: [String]) -> Self {
        var response = error(405, "use \(methods.joined(separator: " or "))")
        response.fields["Allow"] = methods.joined(separator: ", ")
        return response
    }

    /// The `Retry-After` of an answer that we got, in whole seconds, at most a day; nil when it has none.
    package var retryAfter: Duration? {
        guard let text = fields["Retry-After"], let seconds = Int(strictly: text) else { return nil }
        return .seconds(min(seconds, 86_400))
    }
}

extension FixedWidthInteger {
    /// Digits only, and no more of them than fit.
    package init?(strictly digits: some StringProtocol) {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        self.init(digits)
    }
}
