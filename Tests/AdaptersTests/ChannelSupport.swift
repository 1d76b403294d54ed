import Adapters
import Crypto
import JSON
import Pipeline
import Synchronization
import Topics

/// 2023-11-14T22:13:20Z
let someTime = Timestamp(milliseconds: 1_700_000_000_000)

/// Ids `id-1`, `id-2`, …
func countingChance() -> ChanceSource {
    let counter = Counter()
    return ChanceSource(identifier: { "id-\(counter.next())" }, fraction: { 0.5 })
}

final class Counter: Sendable {
    private let value = Mutex(0)

    func next() -> Int {
        value.withLock {
            $0 += 1
            return $0
        }
    }
}

func bytes(_ value: JSONValue) -> [UInt8] { value.json }

enum SlackSupport {
    static let secret = "8f742231b10e8888abcd99yyyzzz85a5"

    static func adapter(_ secrets: [String] = [secret]) -> Slack {
        Slack(
            settings: Slack.Settings(
                apiBase: "https://slack.example/api",
                signingSecrets: { secrets },
                botTokens: { ["xoxb-1"] }
            ),
            chance: countingChance()
        )
    }

    static func signed(
        _ body: [UInt8],
        path: String = "/v1/slack/events",
        secret: String = secret,
        at time: Timestamp = someTime
    ) -> HTTPRequest {
        let seconds = "\(time.milliseconds / 1_000)"
        let code = HMAC.sha256(key: Array(secret.utf8), Array("v0:\(seconds):".utf8), body)
        return HTTPRequest(
            method: "POST",
            target: path,
            fields: [
                "Content-Type": "application/json", "X-Slack-Request-Timestamp": seconds,
                "X-Slack-Signature": "v0=" + Hex.encode(code),
            ],
            body: body
        )
    }

    /// An `event_callback` around the event.
    static func envelope(_ event: JSONValue, id: String = "Ev1", _ more: [String: JSONValue] = [:]) -> [UInt8]
    {
        var members: [String: JSONValue] = [
            "type": "event_callback", "token": "legacy", "team_id": "T1", "api_app_id": "A1",
            "event_id": .string(id),
            "event_time": 1_700_000_000, "event": event,
            "authorizations": [
                ["team_id": "T1", "enterprise_id": nil, "user_id": "UBOT", "is_bot": true]
            ],
        ]
        members.merge(more) { $1 }
        return JSONValue.object(members).json
    }

    static func message(_ more: [String: JSONValue] = [:]) -> JSONValue {
        var members: [String: JSONValue] = [
            "type": "message", "channel": "C1", "channel_type": "channel", "user": "U1", "text": "hi",
            "ts": "1700000000.000100", "event_ts": "1700000000.000100",
        ]
        members.merge(more) { $1 }
        return .object(members)
    }

    static func receive(_ event: JSONValue, id: String = "Ev1", _ more: [String: JSONValue] = [:]) throws
        -> Reception
    {
        try adapter().receive(signed(envelope(event, id: id, more)), at: someTime)
    }
}

enum WhatsAppSupport {
    static let secret = "app-secret"

    static func adapter() -> WhatsApp {
        WhatsApp(
            settings: WhatsApp.Settings(
                apiBase: "https://graph.example/v26.0",
                appSecrets: { ["older", secret] },
                verifyTokens: { ["verify-me"] },
                accessTokens: { ["token-1"] }
            ),
            chance: countingChance()
        )
    }

    static func signed(_ body: [UInt8], secret: String = secret) -> HTTPRequest {
        let code = HMAC.sha256(key: Array(secret.utf8), body)
        return HTTPRequest(
            method: "POST",
            target: "/v1/whatsapp/webhook",
            fields: [
                "Content-Type": "application/json", "X-Hub-Signature-256": "sha256=" + Hex.encode(code),
            ],
            body: body
        )
    }

    static func change(_ value: [String: JSONValue], field: String = "messages") -> JSONValue {
        var members: [String: JSONValue] = [
            "messaging_product": "whatsapp",
            "metadata": ["display_phone_number": "+1 555 0100", "phone_number_id": "1001"],
        ]
        members.merge(value) { $1 }
        return ["field": .string(field), "value": .object(members)]
    }

    static func update(_ changes: [JSONValue]) -> [UInt8] {
        let entry: JSONValue = ["id": "WABA1", "changes": .array(changes)]
        return JSONValue.object(["object": "whatsapp_business_account", "entry": [entry]]).json
    }

    static func text(_ body: String, id: String, _ more: [String: JSONValue] = [:]) -> JSONValue {
        var members: [String: JSONValue] = [
            "from": "491701", "id": .string(id), "timestamp": "1700000000", "type": "text",
            "text": ["body": .string(body)],
        ]
        members.merge(more) { $1 }
        return .object(members)
    }

    static func receive(_ value: [String: JSONValue], field: String = "messages") throws -> Reception {
        try adapter().receive(signed(update([change(value, field: field)])), at: someTime)
    }
}
