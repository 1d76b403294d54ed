import Crypto
import JSON
package import Pipeline
import Topics

/// What a browser sees: the page itself and the conversation so far.
package struct WebChatPage: Sendable {
    /// The newest messages of a conversation, oldest first.
    package typealias History = @Sendable (_ conversation: String) async -> [ChatMessage]

    private let hosts: HostGuard
    private let history: History
    private let replies: ReplyFeed
    /// 32 bytes from the system's random source, hex.
    private let secret: @Sendable () -> String
    private let document: [UInt8]
    private let policy: String

    package init(
        hosts: HostGuard,
        replies: ReplyFeed,
        secret: @escaping @Sendable () -> String,
        history: @escaping History
    ) {
        self.hosts = hosts
        self.replies = replies
        self.secret = secret
        self.history = history
        document = Array(WebChatDocument.html.utf8)
        // Only the style and the script that are in the page, by their hashes; nothing from anywhere else.
        policy = [
            "default-src 'none'", "connect-src 'self'", "img-src data:",
            "script-src 'sha256-\(Self.hash(WebChatDocument.script))'",
            "style-src 'sha256-\(Self.hash(WebChatDocument.style))'",
            "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        ].joined(separator: "; ")
    }

    private static func hash(_ text: String) -> String {
        Base64.encode(SHA256.hash(Array(text.utf8)))
    }

    package static let historyPath = "/v1/chat/history"

    /// `GET /`: the page, and a session when there is none.
    package func page(_ request: HTTPRequest) -> HTTPResponse {
        guard request.method == "GET" || request.method == "HEAD" else {
            return .methodNotAllowed(["GET", "HEAD"])
        }
        do {
            // A link from another site may open the page, so only the host counts here.
            try hosts.checkHost(request)
        } catch {
            return .error(403, error.detail)
        }
        var fields: HTTPFields = [
            "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store",
            "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
        ]
        if WebChat.cookie(of: request) == nil {
            let attributes = "Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
            fields.append("Set-Cookie", "\(WebChat.cookie)=\(secret()); \(attributes)")
        }
        return HTTPResponse(status: 200, fields: fields, body: request.method == "HEAD" ? [] : document)
    }

    /// `GET /v1/chat/history`: the messages so far, and where the stream goes on.
    package func history(_ request: HTTPRequest) async -> HTTPResponse {
        guard request.method == "GET" else { return .methodNotAllowed(["GET"]) }
        do throws(ReceiveError) {
            try hosts.check(request)
            let conversation = WebChat.address(of: try WebChat.session(of: request)).conversationKey
            // The end first: a reply before it is in the history, one after it comes by the stream, and one
            // that is in both is known by its id.
            let end: Int64
            do throws(EventLogError) {
                end = try await replies.end(of: conversation)
            } catch {
                throw ReceiveError(.unavailable, "the log cannot be read now")
            }
            let messages = await history(conversation)
            return .json(
                200,
                ["messages": .array(messages.map(\.json)), "next": .string("\(end)")]
            )
        } catch {
            return error.response(allowing: ["GET"])
        }
    }
}
