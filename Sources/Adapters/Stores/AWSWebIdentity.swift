import Pipeline
import Topics

/// Credentials for a role, given for a token that the platform puts into a file: `AssumeRoleWithWebIdentity`.
struct AWSWebIdentity: Sendable, Hashable {
    let tokenFile: String
    let role: String
    let session: String

    struct Answer: Sendable {
        let credentials: S3Credentials
        let expires: Timestamp
    }

    private static let limits = HTTPLimits(
        total: .seconds(20),
        silence: .seconds(10),
        bodyBytesMax: 1 << 16
    )

    /// One request, unsigned: the token is the proof. It is read anew each time, for the platform renews it.
    func assume(
        at endpoint: String,
        token: String,
        transport: any HTTPTransport
    ) async throws(S3CredentialsError) -> Answer {
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"), ("Version", "2011-06-15"), ("RoleArn", role),
            ("RoleSessionName", session), ("WebIdentityToken", token),
        ]
        let body = form.map { "\($0)=\(PercentCoding.encoded($1))" }.joined(separator: "&")
        let request = HTTPRequest(
            method: "POST",
            target: "\(endpoint)/",
            fields: ["Content-Type": "application/x-www-form-urlencoded"],
            body: Array(body.utf8)
        )
        let response: HTTPResponse
        do throws(HTTPTransportError) {
            response = try await transport.send(request, limits: Self.limits)
        } catch {
            throw S3CredentialsError("\(endpoint): \(error.detail)", isTemporary: true)
        }
        guard response.status == 200 else {
            throw S3CredentialsError(
                "\(endpoint) for \(role): \(response.status) \(S3Answer.words(response))",
                isTemporary: response.status >= 500 || response.status == 429
            )
        }
        return try Self.answer(response.body, from: endpoint)
    }

    private static func answer(_ body: [UInt8], from endpoint: String) throws(S3CredentialsError) -> Answer {
        let text = String(decoding: body, as: UTF8.self)
        let word = { (name: String) in S3Answer.element(name, in: text[...]).map(String.init) }
        guard let access = word("AccessKeyId"), let secret = word("SecretAccessKey"),
            let token = word("SessionToken"),
            let expires = word("Expiration").flatMap(Timestamp.init(rfc3339:))
        else { throw S3CredentialsError("\(endpoint): the answer has no credentials in it") }
        return Answer(
            credentials: S3Credentials(accessKey: access, secretKey: secret, sessionToken: token),
            expires: expires
        )
    }
}
