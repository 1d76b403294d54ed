import Crypto
import Pipeline
import Topics

/// AWS Signature Version 4 in S3's manner: the path is encoded once, and the body's hash is sent.
struct S3Signer: Sendable {
    let region: String

    /// Adds what proves who asks. Every field that the request has by then is signed, and `host` as the
    /// `Host` field will say it; the path is encoded, as on the request line, the query is not.
    func sign(
        _ request: inout HTTPRequest,
        host: String,
        path: String,
        query: [(name: String, value: String)],
        with credentials: S3Credentials,
        at time: Timestamp
    ) {
        let stamp = String(time.rfc3339.prefix(19).filter { $0 != "-" && $0 != ":" }) + "Z"
        let scope = "\(stamp.prefix(8))/\(region)/s3/aws4_request"
        let bodyHash = SHA256.hex(request.body)
        request.fields["x-amz-date"] = stamp
        request.fields["x-amz-content-sha256"] = bodyHash
        if let token = credentials.sessionToken { request.fields["x-amz-security-token"] = token }

        let fields =
            (request.fields.all.map { ($0.name.lowercased(), Self.trimmed($0.value)) } + [("host", host)])
            .sorted { $0.0 < $1.0 }
        let names = fields.map(\.0).joined(separator: ";")
        let canonical = [
            request.method, path, Self.encoded(query),
            fields.map { "\($0):\($1)\n" }.joined(), names, bodyHash,
        ].joined(separator: "\n")
        let text = "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n\(SHA256.hex(Array(canonical.utf8)))"

        var key = Array("AWS4\(credentials.secretKey)".utf8)
        for part in scope.split(separator: "/") { key = HMAC.sha256(key: key, Array(part.utf8)) }
        let signature = Hex.encode(HMAC.sha256(key: key, Array(text.utf8)))
        let credential = "\(credentials.accessKey)/\(scope)"
        request.fields["Authorization"] =
            "AWS4-HMAC-SHA256 Credential=\(credential), SignedHeaders=\(names), Signature=\(signature)"
    }

    /// A query in the canonical order, which is also the one that is sent.
    static func encoded(_ query: [(name: String, value: String)]) -> String {
        query.map { (PercentCoding.encoded($0.name), PercentCoding.encoded($0.value)) }
            .sorted { $0 < $1 }
            .map { "\($0)=\($1)" }
            .joined(separator: "&")
    }

    private static func trimmed(_ value: String) -> String {
        value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
}
