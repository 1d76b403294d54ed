package import Pipeline
import Topics

/// Where S3's credentials come from, first come first served: `AWS_ACCESS_KEY_ID` and
/// `AWS_SECRET_ACCESS_KEY`; `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`; the profile `AWS_PROFILE` (else
/// `default`) of `~/.aws/credentials`, then of `~/.aws/config`.
///
/// Files are read again after a minute. A role's credentials are renewed five minutes before they end, by one
/// request however many ask; while that fails, those at hand serve to their end.
package actor S3CredentialChain {
    package struct Settings: Sendable {
        package var region: String
        package var environment: @Sendable (String) -> String?
        package var readFile: @Sendable (String) -> String?

        package init(
            region: String,
            environment: @escaping @Sendable (String) -> String?,
            readFile: @escaping @Sendable (String) -> String?
        ) {
            self.region = region
            self.environment = environment
            self.readFile = readFile
        }
    }

    private struct Lease: Sendable {
        let credentials: S3Credentials
        /// From then on new ones are asked for.
        let renewAt: Timestamp
        let endsAt: Timestamp?
    }

    private static let fileAge: Duration = .seconds(60)
    private static let margin: Duration = .seconds(300)
    private static let pauseAfterFailure: Duration = .seconds(10)

    private let settings: Settings
    private let transport: any HTTPTransport
    private let time: TimeSource
    private var lease: Lease?
    private var renewal: Task<Lease, any Error>?
    private var noRenewalBefore = Timestamp(milliseconds: .min)

    /// `transport`: for the token service; it needs no more than a connection.
    package init(_ settings: Settings, transport: any HTTPTransport, time: TimeSource) {
        self.settings = settings
        self.transport = transport
        self.time = time
    }

    /// `refused`: credentials that the store called expired or unknown; they are not given again if there are
    /// others.
    package func credentials(refused: S3Credentials? = nil) async throws -> S3Credentials {
        if let refused, lease?.credentials == refused { lease = nil }
        let now = time.now()
        if let lease, now < lease.renewAt { return lease.credentials }
        let usable = lease.flatMap { lease in lease.endsAt.map { now < $0 } ?? false ? lease : nil }
        if let usable, now < noRenewalBefore { return usable.credentials }
        do {
            return try await renewed().credentials
        } catch {
            noRenewalBefore = now + Self.pauseAfterFailure
            guard let usable else { throw error }
            return usable.credentials
        }
    }

    private func renewed() async throws -> Lease {
        if let renewal { return try await renewal.value }
        let task = Task { try await find() }
        renewal = task
        defer { renewal = nil }
        let lease = try await task.value
        self.lease = lease
        return lease
    }

    private func find() async throws(S3CredentialsError) -> Lease {
        if let found = try fromEnvironment() { return held(found) }
        let variable = { [settings] (name: String) in settings.environment(name).flatMap(Self.filled) }
        if let file = variable("AWS_WEB_IDENTITY_TOKEN_FILE"), let role = variable("AWS_ROLE_ARN") {
            return try await assume(file, role, session: variable("AWS_ROLE_SESSION_NAME"))
        }
        let profile = variable("AWS_PROFILE") ?? "default"
        let home = variable("HOME").map { "\($0)/.aws" }
        let files = [
            variable("AWS_SHARED_CREDENTIALS_FILE") ?? home.map { "\($0)/credentials" },
            variable("AWS_CONFIG_FILE") ?? home.map { "\($0)/config" },
        ].compactMap(\.self)
        for file in files {
            guard let text = settings.readFile(file), let found = AWSProfile(named: profile, in: text) else {
                continue
            }
            if let access = found["aws_access_key_id"], let secret = found["aws_secret_access_key"] {
                return held(
                    S3Credentials(
                        accessKey: access,
                        secretKey: secret,
                        sessionToken: found["aws_session_token"].flatMap(Self.filled)
                    )
                )
            }
            if let token = found["web_identity_token_file"], let role = found["role_arn"] {
                return try await assume(token, role, session: found["role_session_name"])
            }
            for key in ["credential_process", "sso_session", "sso_start_url", "source_profile"]
            where found[key] != nil {
                throw S3CredentialsError(
                    "\(file): profile \(profile) has \(key), which is not read here; "
                        + "give keys in the environment or in the profile, or a web identity"
                )
            }
        }
        throw S3CredentialsError(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and "
                + "AWS_ROLE_ARN, or a profile \(profile) in \(files.joined(separator: " or "))"
        )
    }

    private func fromEnvironment() throws(S3CredentialsError) -> S3Credentials? {
        let access = settings.environment("AWS_ACCESS_KEY_ID").flatMap(Self.filled)
        let secret = settings.environment("AWS_SECRET_ACCESS_KEY").flatMap(Self.filled)
        if access == nil, secret == nil { return nil }
        guard let access, let secret else {
            throw S3CredentialsError(
                "\(access == nil ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY") is not set, the other is"
            )
        }
        return S3Credentials(
            accessKey: access,
            secretKey: secret,
            sessionToken: settings.environment("AWS_SESSION_TOKEN").flatMap(Self.filled)
        )
    }

    private func held(_ credentials: S3Credentials) -> Lease {
        Lease(credentials: credentials, renewAt: time.now() + Self.fileAge, endsAt: nil)
    }

    private func assume(_ file: String, _ role: String, session: String?) async throws(S3CredentialsError)
        -> Lease
    {
        guard let token = settings.readFile(file).flatMap(Self.filled) else {
            throw S3CredentialsError("\(file): the web identity's token can not be read", isTemporary: true)
        }
        let identity = AWSWebIdentity(tokenFile: file, role: role, session: session ?? "penstock")
        let endpoint =
            settings.environment("AWS_ENDPOINT_URL_STS").flatMap(Self.filled)
            ?? "https://sts.\(settings.region).amazonaws.com"
        let answer = try await identity.assume(at: endpoint, token: token, transport: transport)
        let now = time.now()
        // A role may be granted for less than the margin's double: then half of what it is granted for.
        let margin = min(Self.margin, (answer.expires - now) / 2)
        let renewAt = answer.expires + (.zero - margin)
        return Lease(credentials: answer.credentials, renewAt: renewAt, endsAt: answer.expires)
    }

    private static func filled(_ text: String) -> String? {
        let trimmed = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return trimmed.isEmpty ? nil : trimmed
    }
}
