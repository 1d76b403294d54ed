import JSON
package import Pipeline
package import Topics

extension Slack {
    private static let limits = HTTPLimits(
        total: .seconds(30),
        silence: .seconds(10),
        bodyBytesMax: 4 << 20
    )
    static let metadataType = "penstock_reply"

    package func chunks(of reply: Reply) -> [String] {
        let text =
            reply.format == .plain
            ? SlackText.escaped(reply.text) : ChatMarkup(dialect: .slack).write(reply.text)
        return TextChunks(unitsMax: SlackHandle.charactersMax, keepsAngles: true).split(text)
    }

    package func deliver(_ delivery: Delivery, over transport: any HTTPTransport) async -> DeliveryResult {
        guard let handle = SlackHandle(delivery.reply.handle) else {
            return .failed(code: "bad_handle", reason: "reply.handle is not one that the Slack adapter made")
        }
        var members: [String: JSONValue] = [
            "channel": .string(handle.channel),
            "metadata": [
                "event_type": .string(Self.metadataType),
                "event_payload": ["idempotency_key": .string(delivery.idempotencyKey)],
            ],
            "text": .string(delivery.text),
            "unfurl_links": false,
            "unfurl_media": false,
        ]
        members["thread_ts"] = handle.thread.map { .string($0) }
        let response: HTTPResponse
        do throws(DeliveryFailure) {
            response = try await call("chat.postMessage", .object(members), over: transport)
        } catch {
            return error.result
        }
        let answer = Payload(object: response.body)
        guard answer?["ok"].bool == true else { return Self.refusal(response, answer) }
        guard let ts = answer?["ts"].word else {
            return .ambiguous(reason: "chat.postMessage: ok without ts")
        }
        return .confirmed(platformID: ts)
    }

    /// Looks for the delivery's key in the metadata of the messages since the reply was made.
    package func reconcile(
        _ delivery: Delivery,
        over transport: any HTTPTransport
    ) async -> DeliveryResult {
        guard let handle = SlackHandle(delivery.reply.handle) else {
            return .failed(code: "bad_handle", reason: "reply.handle is not one that the Slack adapter made")
        }
        let method = handle.thread == nil ? "conversations.history" : "conversations.replies"
        // Ten minutes for the difference between our clock and Slack's.
        let oldest = max(0, delivery.reply.createdAt.milliseconds / 1_000 - 600)
        var cursor: String?
        for _ in 0..<Self.pagesMax {
            var members: [(String, String)] = [
                ("channel", handle.channel), ("include_all_metadata", "true"), ("inclusive", "true"),
                ("limit", "200"), ("oldest", "\(oldest).000000"),
            ]
            if let thread = handle.thread { members.append(("ts", thread)) }
            if let cursor { members.append(("cursor", cursor)) }
            let response: HTTPResponse
            do throws(DeliveryFailure) {
                response = try await query(method, members, over: transport)
            } catch {
                return .ambiguous(reason: "\(method): \(error.reason)")
            }
            let answer = Payload(object: response.body)
            guard answer?["ok"].bool == true, let answer else {
                if Self.isThrottled(response, answer) { return Self.refusal(response, answer) }
                return .ambiguous(reason: "\(method): \(answer?["error"].word ?? "HTTP \(response.status)")")
            }
            if let ts = Self.find(delivery.idempotencyKey, in: answer) { return .confirmed(platformID: ts) }
            cursor = answer["response_metadata"]["next_cursor"].word
            if cursor == nil { return .absent }
        }
        return .ambiguous(reason: "\(method): not among the last \(200 * Self.pagesMax) messages")
    }

    private static let pagesMax = 10

    private static func find(_ key: String, in answer: Payload) -> String? {
        answer["messages"].elements.first { message in
            message["metadata"]["event_type"].string == metadataType
                && message["metadata"]["event_payload"]["idempotency_key"].string == key
        }?["ts"].word
    }

    private func call(
        _ method: String,
        _ body: JSONValue,
        over transport: any HTTPTransport
    ) async throws(DeliveryFailure) -> HTTPResponse {
        let request = HTTPRequest(
            method: "POST",
            target: "\(settings.apiBase)/\(method)",
            fields: [
                "Authorization": "Bearer \(try token())",
                "Content-Type": "application/json; charset=utf-8",
            ],
            body: body.json
        )
        return try await DeliveryFailure.sending(request, over: transport, limits: Self.limits)
    }

    private func query(
        _ method: String,
        _ fields: [(String, String)],
        over transport: any HTTPTransport
    ) async throws(DeliveryFailure) -> HTTPResponse {
        let query = fields.map { "\($0.0)=\(PercentCoding.encoded($0.1))" }.joined(separator: "&")
        let request = HTTPRequest(
            method: "GET",
            target: "\(settings.apiBase)/\(method)?\(query)",
            fields: ["Authorization": "Bearer \(try token())"]
        )
        return try await DeliveryFailure.sending(request, over: transport, limits: Self.limits)
    }

    private func token() throws(DeliveryFailure) -> String {
        try DeliveryFailure.secret("slack.bot_token", settings.botTokens)
    }

    private static func isThrottled(_ response: HTTPResponse, _ answer: Payload?) -> Bool {
        response.status == 429 || ["ratelimited", "rate_limited"].contains(answer?["error"].word)
    }

    /// What an answer other than `ok` means.
    private static func refusal(_ response: HTTPResponse, _ answer: Payload?) -> DeliveryResult {
        let error = answer?["error"].word
        let after = response.retryAfter
        let reason = "Slack: HTTP \(response.status) \(error ?? "")"
        if isThrottled(response, answer) {
            return .retry(after: after, throttled: true, reason: reason)
        }
        switch error {
        case "internal_error", "fatal_error":
            // Slack says itself that part of the work may have been done.
            return .ambiguous(reason: reason)
        case "service_unavailable", "request_timeout", "team_added_to_org":
            return .retry(after: after, throttled: false, reason: reason)
        case "token_revoked", "token_expired", "account_inactive", "invalid_auth", "not_authed",
            "missing_scope",
            "org_login_required", "ekm_access_denied":
            // Nothing of this installation can be sent until somebody mends it; no reply is given up for
            // that.
            return .retry(after: .seconds(60), throttled: true, reason: "\(reason); check slack.bot_token")
        case .some(let error):
            return .failed(code: error, reason: reason)
        case nil where response.status >= 500:
            return .retry(after: after, throttled: false, reason: reason)
        case nil where response.status == 401 || response.status == 403:
            return .retry(after: .seconds(60), throttled: true, reason: "\(reason); check slack.bot_token")
        case nil where response.status == 200:
            return .ambiguous(reason: "\(reason): the answer cannot be read")
        case nil:
            return .failed(code: "http_\(response.status)", reason: reason)
        }
    }
}
