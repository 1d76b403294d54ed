package import Pipeline
package import Topics

/// Slack: Events API and slash commands in, `chat.postMessage` out.
package struct Slack: ChannelAdapter {
    package struct Settings: Sendable {
        /// Without a slash at the end: `https://slack.com/api`.
        package var apiBase: String
        package var signingSecrets: SecretSource
        /// The first is used.
        package var botTokens: SecretSource

        package init(
            apiBase: String,
            signingSecrets: @escaping SecretSource,
            botTokens: @escaping SecretSource
        ) {
            self.apiBase = apiBase
            self.signingSecrets = signingSecrets
            self.botTokens = botTokens
        }
    }

    static let events = "/v1/slack/events"
    static let commands = "/v1/slack/commands"
    static let interactions = "/v1/slack/interactions"

    /// Slack allows five minutes between its clock and ours.
    static let skewMax: Duration = .seconds(300)

    let settings: Settings
    let chance: ChanceSource

    package init(settings: Settings, chance: ChanceSource) {
        self.settings = settings
        self.chance = chance
    }

    package var platform: String { "slack" }

    package var routes: [ChannelRoute] {
        // The probe of a command's URL may come as GET.
        [
            ChannelRoute(Self.events, ["POST"]),
            ChannelRoute(Self.commands, ["GET", "POST"]),
            ChannelRoute(Self.interactions, ["GET", "POST"]),
        ]
    }

    package func receive(
        _ request: HTTPRequest,
        at now: Timestamp
    ) throws(ReceiveError) -> Reception {
        // The raw bytes first, whatever they are: also for url_verification and ssl_check.
        try verify(request, at: now)
        switch request.path {
        case Self.events:
            return try receiveEvent(request, at: now)
        case Self.commands:
            return try receiveCommand(request, at: now)
        default:
            return try receiveInteraction(request)
        }
    }

    private func verify(_ request: HTTPRequest, at now: Timestamp) throws(ReceiveError) {
        let secrets = try ReceiveError.reading("slack.signing_secret", settings.signingSecrets)
        guard let stamp = request.fields["X-Slack-Request-Timestamp"],
            let signature = request.fields["X-Slack-Signature"]
        else {
            throw ReceiveError(.unauthenticated, "X-Slack-Request-Timestamp or X-Slack-Signature is missing")
        }
        guard let seconds = Int64(strictly: stamp), seconds < Int64.max / 1_000 else {
            throw ReceiveError(.unauthenticated, "X-Slack-Request-Timestamp is not a number of seconds")
        }
        guard Signature.isFresh(seconds, at: now, within: Self.skewMax) else {
            throw ReceiveError(
                .unauthenticated,
                "X-Slack-Request-Timestamp is more than 5 minutes off our clock"
            )
        }
        let message = Array("v0:\(stamp):".utf8) + request.body
        guard Signature.matches(signature, prefix: "v0=", secrets: secrets, message: message) else {
            throw ReceiveError(
                .unauthenticated,
                "X-Slack-Signature does not match; check slack.signing_secret"
            )
        }
    }

    private func receiveEvent(
        _ request: HTTPRequest,
        at now: Timestamp
    ) throws(ReceiveError) -> Reception {
        guard let envelope = Payload(object: request.body) else {
            throw ReceiveError(.malformed, "the body is not a JSON object")
        }
        switch envelope["type"].string {
        case "url_verification":
            guard let challenge = envelope["challenge"].string else {
                throw ReceiveError(.malformed, "challenge is missing")
            }
            return Reception(ignored: ["url_verification"], response: .text(200, challenge))
        case "event_callback":
            let delivery = SlackDelivery(envelope: envelope, request: request, now: now, chance: chance)
            return try delivery.reception()
        case "app_rate_limited":
            let delivery = SlackDelivery(envelope: envelope, request: request, now: now, chance: chance)
            return Reception(events: [delivery.rateLimited()], response: .empty(200))
        case .some:
            return Reception(ignored: ["unknown_envelope"], response: .empty(200))
        case nil:
            throw ReceiveError(.malformed, "type is missing")
        }
    }
}
