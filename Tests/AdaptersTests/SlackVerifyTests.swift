import Adapters
import Crypto
import JSON
import Pipeline
import Testing
import Topics

@Suite("Slack: signatures")
struct SlackVerifyTests {
    @Test("Slack's own example of a signature is accepted")
    func officialVector() throws {
        let body = Array(
            ("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
                + "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
                + "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
                + "96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")
                .utf8
        )
        let time = Timestamp(milliseconds: 1_531_420_618_000)

        let request = SlackSupport.signed(body, path: "/v1/slack/commands", at: time)

        #expect(
            request.fields["X-Slack-Signature"]
                == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
        )
        // It has no api_app_id, so it gets past the signature and is then found incomplete.
        #expect(throws: ReceiveError(.malformed, "api_app_id is missing, empty or longer than 256 bytes")) {
            try SlackSupport.adapter().receive(request, at: time)
        }
    }

    @Test(
        "a request without a valid signature is refused before its body is looked at",
        arguments: ["/v1/slack/events", "/v1/slack/commands", "/v1/slack/interactions"],
        [
            #"{"type":"url_verification","challenge":"c"}"#, "ssl_check=1", "not JSON at all", "",
        ]
    )
    func unsigned(path: String, body: String) {
        var forged = SlackSupport.signed(Array(body.utf8), path: path, secret: "wrong")
        #expect(refusal(of: forged) == .unauthenticated)
        forged.fields["X-Slack-Signature"] = nil
        #expect(refusal(of: forged) == .unauthenticated)
        forged.fields["X-Slack-Signature"] = "v0="
        #expect(refusal(of: forged) == .unauthenticated)
    }

    @Test(
        "five minutes of difference are allowed, in both directions, and no more",
        arguments: [(-300, true), (-301, false), (300, true), (301, false)]
    )
    func freshness(seconds: Int64, isAccepted: Bool) {
        let sent = Timestamp(milliseconds: someTime.milliseconds + seconds * 1_000)
        let request = SlackSupport.signed(SlackSupport.envelope(SlackSupport.message()), at: sent)
        #expect((refusal(of: request) == nil) == isAccepted)
    }

    @Test(
        "a timestamp that is no number, or beyond all numbers, is refused",
        arguments: [
            "", "-1", "+1700000000", "1700000000.0", "99999999999999999999", "9223372036854775807", "١٢",
        ]
    )
    func timestamps(stamp: String) {
        let body = Array("{}".utf8)
        var request = SlackSupport.signed(body)
        let code = HMAC.sha256(key: Array(SlackSupport.secret.utf8), Array("v0:\(stamp):".utf8), body)
        request.fields["X-Slack-Request-Timestamp"] = stamp
        request.fields["X-Slack-Signature"] = "v0=" + Hex.encode(code)
        #expect(refusal(of: request) == .unauthenticated)
    }

    @Test("while a secret is rotated, both the old and the new one are good")
    func rotation() throws {
        let body = SlackSupport.envelope(SlackSupport.message())
        for secret in ["old", "new"] {
            let request = SlackSupport.signed(body, secret: secret)
            let reception = try SlackSupport.adapter(["new", "old"]).receive(request, at: someTime)
            #expect(reception.events.count == 1)
        }
    }

    @Test("without a secret nothing passes, and the sender may try again later")
    func noSecret() {
        let request = SlackSupport.signed(SlackSupport.envelope(SlackSupport.message()), secret: "")
        #expect(refusal(of: request, by: SlackSupport.adapter([])) == .unavailable)
        #expect(refusal(of: request, by: SlackSupport.adapter([""])) == .unavailable)
    }

    @Test("the raw bytes are signed: the same JSON written anew does not pass")
    func rawBytes() {
        let raw = Array(#"{"type": "event_callback", "event": {"text": "caf\u00e9 \/ 😀"}}"#.utf8)
        var request = SlackSupport.signed(raw)
        request.body = Array(#"{"event":{"text":"café / 😀"},"type":"event_callback"}"#.utf8)
        #expect(refusal(of: request) == .unauthenticated)
    }

    @Test("a signed url_verification is answered with its challenge, and nothing is appended")
    func urlVerification() throws {
        let body = JSONValue.object([
            "type": "url_verification", "token": "t", "challenge": "3eZbrw1aBm2rZgRNFdxV",
        ])
        let reception = try SlackSupport.adapter().receive(SlackSupport.signed(body.json), at: someTime)
        #expect(reception.response.status == 200)
        #expect(reception.response.body == Array("3eZbrw1aBm2rZgRNFdxV".utf8))
        #expect(reception.events.isEmpty)
    }

    @Test("a signed ssl_check is answered, by GET and by POST")
    func sslCheck() throws {
        let post = SlackSupport.signed(Array("ssl_check=1&token=x".utf8), path: "/v1/slack/commands")
        #expect(try SlackSupport.adapter().receive(post, at: someTime).response.status == 200)
        var get = SlackSupport.signed([], path: "/v1/slack/commands?ssl_check=1")
        get.method = "GET"
        #expect(try SlackSupport.adapter().receive(get, at: someTime).response.status == 200)
    }

    private func refusal(of request: HTTPRequest, by adapter: Slack = SlackSupport.adapter()) -> ReceiveError
        .Kind?
    {
        do throws(ReceiveError) {
            _ = try adapter.receive(request, at: someTime)
            return nil
        } catch {
            return error.kind
        }
    }
}
