/// What of the network a run may reach: named hosts, through a proxy outside the sandbox. Names are resolved
/// there; what leads to an address that is not public is refused, whatever its name.
package struct SandboxHosts: Sendable, Hashable {
    package var allowed: [HostRule]
    /// Addresses that are not public and may be reached all the same, by an allowed name.
    package var privateNetworks: [AddressRange]
    /// Of all responses and all requests of the run together, tunnels included.
    package var responseBytesMax: Int
    package var requestBytesMax: Int
    /// At a time; more wait.
    package var connectionsMax: Int
    package var secrets: [SandboxSecret]
    /// Whose run it is, for the audit records.
    package var label: String

    package init(
        allowed: [HostRule],
        label: String,
        privateNetworks: [AddressRange] = [],
        responseBytesMax: Int = 64 << 20,
        requestBytesMax: Int = 16 << 20,
        connectionsMax: Int = 64,
        secrets: [SandboxSecret] = []
    ) {
        self.allowed = allowed
        self.label = label
        self.privateNetworks = privateNetworks
        self.responseBytesMax = responseBytesMax
        self.requestBytesMax = requestBytesMax
        self.connectionsMax = connectionsMax
        self.secrets = secrets
    }
}

/// A secret that stays outside: the command sees `placeholder` in the variable `name`, and the proxy writes
/// the value in its place into what goes to the hosts: plain HTTP, or TLS that the proxy reads.
package struct SandboxSecret: Sendable, Hashable, CustomStringConvertible {
    package let name: String
    package let value: String
    package let hosts: [HostRule]
    /// The proxy ends the command's TLS to these hosts with a certificate of the run's own authority, and
    /// speaks TLS to them itself; the secret goes over TLS only. Otherwise over plain HTTP only.
    package let interceptsTLS: Bool

    package init(name: String, value: String, hosts: [HostRule], interceptsTLS: Bool = false) {
        self.name = name
        self.value = value
        self.hosts = hosts
        self.interceptsTLS = interceptsTLS
    }

    /// The same in every run, so that what a skill answers does not depend on it. Worth nothing elsewhere.
    package var placeholder: String { "penstock-secret-\(name)-stays-outside" }

    /// Never the value.
    package var description: String { "\(name) for \(hosts.map(\.description).joined(separator: ", "))" }
}
