import Pipeline
import PipelineTesting
import Synchronization
import Testing
import Topics

@testable import Adapters

@Suite("S3 credentials")
struct S3CredentialTests {
    /// The machine as the chain sees it.
    private final class Machine: Sendable {
        let variables = Mutex<[String: String]>(["HOME": "/home/bob"])
        let files = Mutex<[String: String]>([:])
        let clock = TestClock()

        func chain(_ transport: FakeTransport = FakeTransport([])) -> S3CredentialChain {
            S3CredentialChain(
                S3CredentialChain.Settings(
                    region: "eu-west-1",
                    environment: { name in self.variables.withLock { $0[name] } },
                    readFile: { path in self.files.withLock { $0[path] } }
                ),
                transport: transport,
                time: clock.source
            )
        }

        func set(_ variables: [String: String]) {
            self.variables.withLock { $0.merge(variables) { $1 } }
        }

        func write(_ path: String, _ text: String) { files.withLock { $0[path] = text } }
    }

    private static func answer(_ name: String, expires: Timestamp) -> FakeTransport.Answer {
        let text = """
            <AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
            <AccessKeyId>\(name)</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
            <SessionToken>token</SessionToken><Expiration>\(expires.rfc3339)</Expiration>
            </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>
            """
        return .response(HTTPResponse(status: 200, body: Array(text.utf8)))
    }

    @Test("the environment comes first; half of it is an error that names the other half")
    func environment() async throws {
        let machine = Machine()
        machine.write("/home/bob/.aws/credentials", "[default]\naws_access_key_id=f\naws_secret_access_key=s")
        machine.set(["AWS_ACCESS_KEY_ID": "key"])
        let error = await #expect(throws: S3CredentialsError.self) { try await machine.chain().credentials() }
        #expect(error?.detail.contains("AWS_SECRET_ACCESS_KEY") == true)
        machine.set(["AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"])
        #expect(
            try await machine.chain().credentials()
                == S3Credentials(accessKey: "key", secretKey: "secret", sessionToken: "token")
        )
    }

    @Test(
        "profiles are found in both files, by AWS_PROFILE",
        arguments: [
            (
                "default", "credentials",
                "[default]\n# mine\naws_access_key_id = A\naws_secret_access_key=B/c=\n"
            ),
            (
                "work", "credentials",
                "[default]\naws_access_key_id=X\n[work]\naws_access_key_id=A\naws_secret_access_key=B/c=\n"
            ),
            (
                "work", "config",
                "[work]\n[profile work]\r\nregion=eu-west-1\r\ns3 =\r\n  max = 1\r\naws_access_key_id=A\r\naws_secret_access_key=B/c=\r\n"
            ),
        ]
    )
    func profiles(name: String, file: String, text: String) async throws {
        let machine = Machine()
        machine.write("/home/bob/.aws/\(file)", text)
        if name != "default" { machine.set(["AWS_PROFILE": name]) }

        let found = try await machine.chain().credentials()

        #expect(found == S3Credentials(accessKey: "A", secretKey: "B/c="))
    }

    @Test("what is not there and what is not supported is said")
    func missing() async {
        let machine = Machine()
        let nothing = await #expect(throws: S3CredentialsError.self) {
            try await machine.chain().credentials()
        }
        machine.write("/home/bob/.aws/config", "[default]\ncredential_process = /bin/give\n")
        let process = await #expect(throws: S3CredentialsError.self) {
            try await machine.chain().credentials()
        }
        #expect(nothing?.detail.contains("/home/bob/.aws/credentials") == true)
        #expect(process?.detail.contains("credential_process") == true)
    }

    @Test("a changed file is seen after a minute, and at once when the store refused the old keys")
    func rotation() async throws {
        let machine = Machine()
        let path = "/home/bob/.aws/credentials"
        let text = { (key: String) in "[default]\naws_access_key_id=\(key)\naws_secret_access_key=s" }
        machine.write(path, text("one"))
        let chain = machine.chain()
        let one = try await chain.credentials()

        machine.write(path, text("two"))
        let still = try await chain.credentials()
        let refused = try await chain.credentials(refused: one)
        machine.write(path, text("three"))
        machine.clock.advance(by: .seconds(61))
        let later = try await chain.credentials()

        #expect([one, still, refused, later].map(\.accessKey) == ["one", "one", "two", "three"])
    }

    @Test("a web identity is renewed before it ends, and outlives a token service that is away")
    func webIdentity() async throws {
        let machine = Machine()
        machine.set([
            "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
        ])
        machine.write("/var/token", "the.token\n")
        let start = machine.clock.source.now()
        let transport = FakeTransport([
            Self.answer("one", expires: start + .seconds(3_600)), .failure(.unreachable),
            Self.answer("two", expires: start + .seconds(7_200)),
        ])
        let chain = machine.chain(transport)

        async let first = chain.credentials()
        async let again = chain.credentials()
        let together = try await [first.accessKey, again.accessKey]
        machine.clock.advance(by: .seconds(3_290))
        let early = try await chain.credentials()
        machine.clock.advance(by: .seconds(20))
        let away = try await chain.credentials()
        let soon = try await chain.credentials()
        machine.clock.advance(by: .seconds(11))
        let renewed = try await chain.credentials()

        #expect(together == ["one", "one"])
        #expect([early, away, soon, renewed].map(\.accessKey) == ["one", "one", "one", "two"])
        #expect(transport.requests.count == 3)
        let request = try #require(transport.requests.first)
        #expect(request.target == "https://sts.eu-west-1.amazonaws.com/")
        let body = String(decoding: request.body, as: UTF8.self)
        #expect(
            body.contains("WebIdentityToken=the.token") && body.contains("arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr")
        )
    }

    @Test("an ended identity is not used, and the token service's words are told")
    func ended() async throws {
        let machine = Machine()
        machine.set(["AWS_WEB_IDENTITY_TOKEN_FILE": "/var/token", "AWS_ROLE_ARN": "arn"])
        machine.write("/var/token", "t")
        let denied =
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
        let transport = FakeTransport([
            Self.answer("one", expires: machine.clock.source.now() + .seconds(900)),
            .response(HTTPResponse(status: 403, body: Array(denied.utf8))),
        ])
        let chain = machine.chain(transport)
        _ = try await chain.credentials()

        machine.clock.advance(by: .seconds(901))
        let error = await #expect(throws: S3CredentialsError.self) { try await chain.credentials() }

        #expect(error?.detail.contains("AccessDenied") == true)
        #expect(error?.isTemporary == false)
    }
}
