import JSON

/// What the settings allow one skill beyond its walls; a skill without a grant has no network and no secret,
/// whatever it asks for.
package struct SkillGrant: Sendable {
    package var hosts: [HostRule] = []
    /// Stay outside: the skill has a placeholder, which the proxy replaces on the way to the secret's hosts.
    package var secrets: [SkillSecret] = []
    /// The skill's command reads them from its descriptor 3.
    package var descriptorSecrets: [SkillSecret] = []
    package var privateNetworks: [AddressRange] = []
    package var responseBytesMax = 64 << 20
    package var requestBytesMax = 16 << 20

    package init() {}

    /// Variables that a skill may say it needs.
    package var names: Set<String> { Set(secrets.map(\.name) + descriptorSecrets.map(\.name)) }

    /// Grants it to the run. Secrets are read now, so that a rotated one is used from the next run on.
    func apply(to run: inout SandboxRun, skill: String) throws(SecretError) {
        var values: [SandboxSecret] = []
        for secret in secrets {
            let value = try secret.value.value()
            values.append(
                SandboxSecret(
                    name: secret.name,
                    value: value,
                    hosts: secret.hosts,
                    interceptsTLS: secret.interceptsTLS
                )
            )
        }
        for secret in descriptorSecrets { run.descriptorSecrets[secret.name] = try secret.value.value() }
        guard !hosts.isEmpty else { return }
        var network = SandboxHosts(allowed: hosts, label: skill)
        network.privateNetworks = privateNetworks
        network.responseBytesMax = responseBytesMax
        network.requestBytesMax = requestBytesMax
        network.secrets = values
        run.network = .hosts(network)
    }
}

package struct SkillSecret: Sendable {
    package let name: String
    package let value: Secret
    /// Where the proxy may send it.
    package let hosts: [HostRule]
    /// In requests over TLS, which the proxy reads for it; see `SandboxSecret`.
    package let interceptsTLS: Bool

    package init(name: String, value: Secret, hosts: [HostRule], interceptsTLS: Bool) {
        self.name = name
        self.value = value
        self.hosts = hosts
        self.interceptsTLS = interceptsTLS
    }
}

extension Skill {
    /// Hosts that SKILL.md asks for, `metadata.penstock.network`: a request, shown beside what is granted.
    package var requestedHosts: [String] {
        let asked = metadata["penstock"]?["network"] ?? metadata["penstock.network"]
        if let list = asked?.arrayValue { return list.compactMap(\.stringValue) }
        return asked?.stringValue?.split { $0 == " " || $0 == "," }.map(String.init) ?? []
    }
}
