import Crypto
package import Pipeline
package import Topics

/// WhatsApp Cloud API: webhooks in, text messages out.
package struct WhatsApp: ChannelAdapter {
    package struct Settings: Sendable {
        /// With the version, without a slash at the end: `https://graph.facebook.com/v26.0`.
        package var apiBase: String
        package var appSecrets: SecretSource
        package var verifyTokens: SecretSource
        /// The first is used.
        package var accessTokens: SecretSource

        package init(
            apiBase: String,
            appSecrets: @escaping SecretSource,
            verifyTokens: @escaping SecretSource,
            accessTokens: @escaping SecretSource
        ) {
            self.apiBase = apiBase
            self.appSecrets = appSecrets
            self.verifyTokens = verifyTokens
            self.accessTokens = accessTokens
        }
    }

    static let webhook = "/v1/whatsapp/webhook"
    /// Meta batches up to 1,000 updates; beyond this a request is refused.
    static let elementsMax = 4_096
    static let charactersMax = 4_096

    let settings: Settings
    let chance: ChanceSource

    package init(settings: Settings, chance: ChanceSource) {
        self.settings = settings
        self.chance = chance
    }

    package var platform: String { "whatsapp" }

    package var routes: [ChannelRoute] { [ChannelRoute(Self.webhook, ["GET", "POST"])] }

    package func receive(
        _ request: HTTPRequest,
        at now: Timestamp
    ) throws(ReceiveError) -> Reception {
        if request.method == "GET" { return try subscribe(request) }
        try verify(request)
        guard let update = Payload(object: request.body) else {
            throw ReceiveError(.malformed, "the body is not a JSON object")
        }
        guard update["object"].string == "whatsapp_business_account" else {
            return Reception(ignored: ["unknown_object"], response: .empty(200))
        }
        var batch = WhatsAppBatch(now: now, chance: chance)
        for entry in update["entry"].elements {
            for change in entry["changes"].elements {
                batch.add(change, of: entry)
                guard batch.count <= Self.elementsMax else {
                    throw ReceiveError(.malformed, "more than \(Self.elementsMax) messages and statuses")
                }
            }
        }
        return batch.reception
    }

    private func subscribe(_ request: HTTPRequest) throws(ReceiveError) -> Reception {
        let tokens = try ReceiveError.reading("whatsapp.verify_token", settings.verifyTokens)
        guard let query = FormBody(queryOf: request.target), query["hub.mode"] == "subscribe",
            let token = query["hub.verify_token"], let challenge = query["hub.challenge"]
        else {
            throw ReceiveError(
                .malformed,
                "hub.mode=subscribe, hub.verify_token and hub.challenge are needed"
            )
        }
        guard Signature.equals(token, anyOf: tokens) else {
            throw ReceiveError(.forbidden, "hub.verify_token is not whatsapp.verify_token")
        }
        return Reception(ignored: ["subscribe"], response: .text(200, challenge))
    }

    private func verify(_ request: HTTPRequest) throws(ReceiveError) {
        let secrets = try ReceiveError.reading("whatsapp.app_secret", settings.appSecrets)
        guard let signature = request.fields["X-Hub-Signature-256"] else {
            throw ReceiveError(.unauthenticated, "X-Hub-Signature-256 is missing")
        }
        guard Signature.matches(signature, prefix: "sha256=", secrets: secrets, message: request.body) else {
            throw ReceiveError(
                .unauthenticated,
                "X-Hub-Signature-256 does not match; check whatsapp.app_secret"
            )
        }
    }
}
