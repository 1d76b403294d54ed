import Crypto
import JSON
import Pipeline
import Topics

/// Who may use `/v1/events` and `/v1/replies`: a bearer token, or a signature as Standard Webhooks defines
/// it.
package struct EventsAccess: Sendable {
    private let tokens: SecretSource
    private let secrets: SecretSource
    private let admitsAnyone: Bool
    private let hosts: HostGuard

    private static let skewMax: Duration = .seconds(300)

    /// Bearer tokens and webhook secrets (`whsec_…` or plain base64), of each kind perhaps none.
    ///
    /// `admitsAnyone` counts while there is neither; it is for a server on the loopback interface only.
    package init(
        tokens: @escaping SecretSource,
        secrets: @escaping SecretSource,
        admitsAnyone: Bool,
        hosts: HostGuard
    ) {
        self.tokens = tokens
        self.secrets = secrets
        self.admitsAnyone = admitsAnyone
        self.hosts = hosts
    }

    /// Whether the sender has proved who it is; throws when it had to and did not.
    func check(_ request: HTTPRequest, at now: Timestamp) throws(ReceiveError) -> Bool {
        let tokens = try Self.read("the token of /v1/events", self.tokens)
        let secrets = try Self.read("the webhook secret of /v1/events", self.secrets)
        if tokens.isEmpty, secrets.isEmpty {
            guard admitsAnyone else {
                throw ReceiveError(.unauthenticated, "no token is set for /v1/events, so nobody is let in")
            }
            // A page of another site must not use our openness to those on this machine.
            try hosts.check(request)
            return false
        }
        if let token = request.bearerToken {
            guard !tokens.isEmpty, Signature.equals(token, anyOf: tokens) else {
                throw ReceiveError(.unauthenticated, "the bearer token is not one that is set")
            }
            return true
        }
        guard !secrets.isEmpty, request.fields["webhook-signature"] != nil else {
            throw ReceiveError(.unauthenticated, "a bearer token or a webhook-signature is needed")
        }
        try Self.verify(request, secrets: secrets, at: now)
        return true
    }

    private static func verify(
        _ request: HTTPRequest,
        secrets: [String],
        at now: Timestamp
    ) throws(ReceiveError) {
        guard let id = request.fields["webhook-id"], let stamp = request.fields["webhook-timestamp"],
            let signatures = request.fields["webhook-signature"]
        else {
            throw ReceiveError(
                .unauthenticated,
                "webhook-id, webhook-timestamp and webhook-signature are needed"
            )
        }
        guard let seconds = Int64(strictly: stamp), Signature.isFresh(seconds, at: now, within: skewMax)
        else {
            throw ReceiveError(.unauthenticated, "webhook-timestamp is more than 5 minutes off our clock")
        }
        let keys = secrets.compactMap { secret in
            Base64.decode(secret.hasPrefix("whsec_") ? String(secret.dropFirst(6)) : secret)
        }
        guard !keys.isEmpty else { throw ReceiveError(.unavailable, "the webhook secret is not base64") }
        let head = Array("\(id).\(stamp).".utf8)
        let codes = keys.map { HMAC.sha256(key: $0, head, request.body) }
        // Several may be given while the sender rotates its secret; other versions than v1 are passed over.
        let given = signatures.split(separator: " ").prefix(16).compactMap { signature in
            signature.hasPrefix("v1,") ? Base64.decode(String(signature.dropFirst(3))) : nil
        }
        let isGood = given.reduce(false) { isGood, signature in
            codes.reduce(isGood) { constantTimeEqual($1, signature) || $0 }
        }
        guard isGood else { throw ReceiveError(.unauthenticated, "webhook-signature does not match") }
    }

    private static func read(_ name: String, _ source: SecretSource) throws(ReceiveError) -> [String] {
        do {
            return try source().filter { !$0.isEmpty }
        } catch {
            throw ReceiveError(.unavailable, "\(name) cannot be read: \(error)")
        }
    }
}

extension HTTPRequest {
    var bearerToken: String? {
        guard let field = fields["Authorization"], field.count > 7, field.prefix(7).lowercased() == "bearer "
        else {
            return nil
        }
        return String(field.dropFirst(7).drop { $0 == " " })
    }
}
