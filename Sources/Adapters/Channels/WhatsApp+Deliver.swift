import JSON
package import Pipeline
package import Topics

extension WhatsApp {
    private static let limits = HTTPLimits(
        total: .seconds(30),
        silence: .seconds(10),
        bodyBytesMax: 1 << 20
    )
    /// Meta's limit for `biz_opaque_callback_data`.
    private static let callbackBytesMax = 512

    package func chunks(of reply: Reply) -> [String] {
        let text = reply.format == .plain ? reply.text : ChatMarkup(dialect: .whatsApp).write(reply.text)
        return TextChunks(unitsMax: Self.charactersMax, keepsAngles: false).split(text)
    }

    package func deliver(_ delivery: Delivery, over transport: any HTTPTransport) async -> DeliveryResult {
        guard let handle = WhatsAppHandle(delivery.reply.handle) else {
            return .failed(
                code: "bad_handle",
                reason: "reply.handle is not one that the WhatsApp adapter made"
            )
        }
        let response: HTTPResponse
        do throws(DeliveryFailure) {
            let token = try DeliveryFailure.secret("whatsapp.access_token", settings.accessTokens)
            let request = HTTPRequest(
                method: "POST",
                target: "\(settings.apiBase)/\(handle.number)/messages",
                fields: ["Authorization": "Bearer \(token)", "Content-Type": "application/json"],
                body: Self.body(delivery, to: handle).json
            )
            response = try await DeliveryFailure.sending(request, over: transport, limits: Self.limits)
        } catch {
            return error.result
        }
        let answer = Payload(object: response.body)
        if (200..<300).contains(response.status), answer?["error"].value == nil {
            guard let id = answer?["messages"].elements.first?["id"].word else {
                return .ambiguous(reason: "messages: HTTP \(response.status) without a message id")
            }
            return .confirmed(platformID: id)
        }
        return Self.refusal(response, answer)
    }

    /// WhatsApp cannot be asked; a status with our key may still come and becomes a receipt.
    package func reconcile(
        _ delivery: Delivery,
        over transport: any HTTPTransport
    ) async -> DeliveryResult {
        .ambiguous(reason: "WhatsApp cannot be asked about a message; a status may still tell")
    }

    private static func body(_ delivery: Delivery, to handle: WhatsAppHandle) -> JSONValue {
        var members: [String: JSONValue] = [
            "messaging_product": "whatsapp",
            "recipient_type": handle.group == nil ? "individual" : "group",
            "text": ["body": .string(delivery.text), "preview_url": false],
            "type": "text",
        ]
        if let to = handle.group ?? handle.phone {
            members["to"] = .string(to)
        } else if let user = handle.user {
            members["recipient"] = .string(user)
        }
        let key = delivery.idempotencyKey
        if key.utf8.count <= callbackBytesMax { members["biz_opaque_callback_data"] = .string(key) }
        return .object(members)
    }

    /// Meta says to go by the code, not by the HTTP status or the title.
    private static func refusal(_ response: HTTPResponse, _ answer: Payload?) -> DeliveryResult {
        let error = answer?["error"] ?? Payload(nil)
        let words = error["error_data"]["details"].word ?? error["message"].word ?? ""
        let after = response.retryAfter
        guard let code = error["code"].integer else {
            let reason = "messages: HTTP \(response.status)"
            switch response.status {
            case 429: return .retry(after: after, throttled: true, reason: reason)
            case 500...: return .retry(after: after, throttled: false, reason: reason)
            case 401, 403: return .retry(after: .seconds(60), throttled: true, reason: reason)
            case 200..<300: return .ambiguous(reason: "\(reason): the answer cannot be read")
            default: return .failed(code: "http_\(response.status)", reason: reason)
            }
        }
        let reason = "messages: HTTP \(response.status) code \(code) \(words.prefix(256))"
        switch code {
        case 4, 80_007, 130_429, 133_016:
            return .retry(after: after, throttled: true, reason: reason)
        case 131_056:
            // One message in 6 s to the same person, once the burst is spent.
            return .retry(after: after ?? .seconds(6), throttled: true, reason: reason)
        case 1, 2, 131_000, 131_016, 131_057:
            return .retry(after: after, throttled: false, reason: reason)
        case 130_472, 131_048, 131_049:
            return .retry(after: .seconds(3_600), throttled: false, reason: reason)
        case 0, 3, 10, 190, 200...299, 368, 131_005, 131_031, 131_037, 131_042, 131_045, 131_063, 131_064:
            // Nothing of this number can be sent until somebody mends it; no reply is given up for that.
            return .retry(
                after: .seconds(60),
                throttled: true,
                reason: "\(reason); check whatsapp.access_token"
            )
        case _ where response.status == 429:
            return .retry(after: after, throttled: true, reason: reason)
        case _ where response.status >= 500:
            return .retry(after: after, throttled: false, reason: reason)
        default:
            return .failed(code: "\(code)", reason: reason)
        }
    }
}
