package struct S3Credentials: Sendable, Hashable {
    package let accessKey: String
    package let secretKey: String
    package let sessionToken: String?

    package init(accessKey: String, secretKey: String, sessionToken: String? = nil) {
        self.accessKey = accessKey
        self.secretKey = secretKey
        self.sessionToken = sessionToken
    }
}

package struct S3CredentialsError: Error, Hashable, CustomStringConvertible {
    /// What was looked for and where; never a secret.
    package let detail: String
    /// The same again may do later.
    package let isTemporary: Bool

    init(_ detail: String, isTemporary: Bool = false) {
        self.detail = detail
        self.isTemporary = isTemporary
    }

    package var description: String { detail }
}
