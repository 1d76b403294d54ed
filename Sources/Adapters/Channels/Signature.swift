import Crypto
import JSON
import Topics

/// Checks of what senders prove that they know; every comparison takes the same time wherever they differ.
enum Signature {
    /// Whether the text is the prefix and then the hex HMAC-SHA-256 of the message under one of the secrets.
    static func matches(_ text: String, prefix: String, secrets: [String], message: [UInt8]) -> Bool {
        guard text.hasPrefix(prefix), let given = Hex.decode(String(text.dropFirst(prefix.count))) else {
            return false
        }
        // All of them, so that the time does not tell which one it was.
        return secrets.reduce(false) { isFound, secret in
            constantTimeEqual(HMAC.sha256(key: Array(secret.utf8), message), given) || isFound
        }
    }

    /// Whether the text is one of the secrets. Their digests are compared, so that lengths do not show.
    static func equals(_ text: String, anyOf secrets: [String]) -> Bool {
        let given = SHA256.hash(Array(text.utf8))
        return secrets.reduce(false) { isFound, secret in
            constantTimeEqual(SHA256.hash(Array(secret.utf8)), given) || isFound
        }
    }

    static func isFresh(_ seconds: Int64, at now: Timestamp, within skewMax: Duration) -> Bool {
        let (distance, overflow) = (now.milliseconds / 1_000).subtractingReportingOverflow(seconds)
        return !overflow && distance.magnitude <= skewMax.components.seconds.magnitude
    }
}
