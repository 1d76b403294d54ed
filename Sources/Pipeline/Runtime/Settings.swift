/// What an operator can set. The defaults run: one process, everything in one folder, no model.
package struct Settings: Sendable {
    package enum Log: Sendable, Hashable {
        case embedded
        case kafka(Kafka)
    }

    package struct Kafka: Sendable, Hashable {
        package enum Membership: String, Sendable, CaseIterable {
            case `static`, dynamic
        }

        package var bootstrap: String
        package var membership = Membership.static
        /// Handed to librdkafka as they are.
        package var properties: [String: String] = [:]

        package init(bootstrap: String) {
            self.bootstrap = bootstrap
        }
    }

    package enum Store: Sendable, Hashable {
        case folder
        case s3(S3)
    }

    package struct S3: Sendable, Hashable {
        /// Where the bucket is named in a request.
        package enum Style: String, Sendable, CaseIterable {
            case path, host
        }

        /// `https://host[:port]`, without bucket; nil for AWS's own of the region.
        package var endpoint: String?
        package var bucket: String
        package var region = "us-east-1"
        /// Before every key; empty, or with a slash at its end.
        package var prefix = ""
        /// Nil: by host on AWS, by path elsewhere.
        package var style: Style?
        /// Requests at a time.
        package var connectionsMax = 64
    }

    package enum Model: Sendable {
        case offline
        case openAI(RemoteModel)
        case anthropic(RemoteModel)
    }

    package struct RemoteModel: Sendable {
        package var baseURL: String
        package var model: String
        package var key: Secret
    }

    package struct Slack: Sendable {
        package var signingSecret: Secret
        package var botToken: Secret
        package var apiBase = "https://slack.com/api"
    }

    package struct WhatsApp: Sendable {
        package var appSecret: Secret
        package var verifyToken: Secret
        package var accessToken: Secret
        package var apiBase = "https://graph.facebook.com/v26.0"
    }

    /// `POST /v1/events` and `GET /v1/replies`.
    package struct Events: Sendable {
        package var token: Secret?
        package var signingSecret: Secret?
    }

    /// The walls around skills.
    package struct Sandbox: Sendable {
        /// Whether skills run where the kernel lacks a layer; otherwise each run is refused.
        package var mayLackLayers = false
        /// Sandboxes made ahead of their requests, and how long they wait for one.
        package var poolSize = 2
        /// Of those in which a Python waits.
        package var pythonPoolSize = 1
        package var poolIdle: Duration = .seconds(60)
        /// A file with authorities that the proxy trusts beside the system's, for TLS of its own.
        package var trustedCertificates: String?
        /// By skill.
        package var grants: [String: SkillGrant] = [:]

        package init() {}
    }

    package var data = "./penstock-data"
    package var host = "127.0.0.1"
    package var port: UInt16 = 8080
    /// Names under which browsers reach us, beside addresses and localhost.
    package var hostNames: [String] = []
    package var bodyBytesMax = 4 << 20
    package var log = Log.embedded
    package var topicPrefix = "penstock."
    package var store = Store.folder
    package var models: [Model] = [.offline]
    package var skills: [String] = []
    package var sandbox = Sandbox()
    package var slack: Slack?
    package var whatsApp: WhatsApp?
    package var events = Events()
    /// Nil: on when only this machine can reach us.
    package var webChat: Bool?
    package var agent = AgentSettings()
    /// Turns at a time.
    package var turnsMax = 256
    package var queuedBytesMax = 64 << 20
    /// First part of the process's name among its peers; nil for the host's name, with a number that is free
    /// in the data folder.
    package var member: String?
    package var deliveryAttemptsMax = 10
    package var resendsWhenUnsure = true
    package var stopWithin: Duration = .seconds(20)

    package init() {}

    /// Only this machine can reach us.
    package var isLoopback: Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }
}

/// A secret by where it is: read again on every use, so that a rotated one needs no restart; never printed.
package struct Secret: Sendable, CustomStringConvertible {
    private let read: @Sendable () throws(SecretError) -> String
    /// `env:NAME`, `file:PATH`, or `given` for one that stands in the settings.
    package let description: String

    package init(_ description: String, read: @escaping @Sendable () throws(SecretError) -> String) {
        self.description = description
        self.read = read
    }

    /// Without white space around it. Throws when it is not there or empty.
    package func value() throws(SecretError) -> String {
        let value = try read().trimmingBlank
        guard !value.isEmpty else { throw SecretError(detail: "\(description) is empty") }
        return value
    }
}

package struct SecretError: Error, CustomStringConvertible {
    package let detail: String

    package init(detail: String) {
        self.detail = detail
    }

    package var description: String { detail }
}
