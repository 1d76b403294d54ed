import YAML

extension Settings {
    /// `sandbox.secrets`, `sandbox.skills` and `sandbox.private_networks`: what which skill may reach.
    mutating func takeGrants(_ reader: SettingsReader, _ context: SettingsContext) throws(SettingsError) {
        var networks: [AddressRange] = []
        for text in try reader.strings("private_networks") ?? [] {
            guard let range = AddressRange(text) else {
                throw reader.error("private_networks", "expected ranges such as 10.1.0.0/16, not \(text)")
            }
            networks.append(range)
        }
        var secrets: [String: SkillSecret] = [:]
        for (name, secret) in try Self.named("secrets", reader, keys: ["value", "hosts", "intercept_tls"]) {
            secrets[name] = SkillSecret(
                name: name,
                value: context.secret(try secret.required("value")),
                hosts: try Self.hosts(secret),
                interceptsTLS: try secret.bool("intercept_tls") ?? false
            )
        }
        let keys = ["hosts", "secrets", "descriptor_secrets", "response_max", "request_max"]
        for (name, skill) in try Self.named("skills", reader, keys: keys) {
            var grant = SkillGrant()
            grant.hosts = try Self.hosts(skill)
            grant.privateNetworks = networks
            grant.secrets = try Self.secrets("secrets", skill, secrets)
            grant.descriptorSecrets = try Self.secrets("descriptor_secrets", skill, secrets)
            grant.responseBytesMax =
                try skill.bytes("response_max", in: 1_024...(16 << 30)) ?? grant.responseBytesMax
            grant.requestBytesMax =
                try skill.bytes("request_max", in: 1_024...(16 << 30)) ?? grant.requestBytesMax
            for secret in grant.secrets where secret.hosts.isEmpty {
                throw skill.error("secrets", "\(secret.name) has no hosts that it may be sent to")
            }
            sandbox.grants[name] = grant
        }
    }

    /// The entries of a mapping whose keys are names.
    private static func named(
        _ key: String,
        _ reader: SettingsReader,
        keys: [String]
    ) throws(SettingsError) -> [(String, SettingsReader)] {
        guard let node = reader.node(key) else { return [] }
        guard let entries = node.entries else { throw reader.error(key, "expected names and what each has") }
        var named: [(String, SettingsReader)] = []
        for entry in entries {
            guard let name = entry.key.text, !name.isEmpty else { throw reader.error(key, "expected names") }
            let path = "\(reader.path).\(key).\(name)"
            named.append((name, try SettingsReader(entry.value, file: reader.file, path: path, keys: keys)))
        }
        return named
    }

    private static func hosts(_ reader: SettingsReader) throws(SettingsError) -> [HostRule] {
        var rules: [HostRule] = []
        for text in try reader.strings("hosts") ?? [] {
            guard let rule = HostRule(text) else {
                throw reader.error(
                    "hosts",
                    "expected names such as api.example.com, *.example.com or example.org:8443, not \(text)"
                )
            }
            rules.append(rule)
        }
        return rules
    }

    private static func secrets(
        _ key: String,
        _ reader: SettingsReader,
        _ known: [String: SkillSecret]
    ) throws(SettingsError) -> [SkillSecret] {
        var secrets: [SkillSecret] = []
        for name in try reader.strings(key) ?? [] {
            guard let secret = known[name] else {
                throw reader.error(key, "\(name) is none of sandbox.secrets")
            }
            secrets.append(secret)
        }
        return secrets
    }
}

extension Settings {
    /// What skills find where they run.
    package var skillHost: SkillHost {
        var host = SkillHost()
        host.granted = sandbox.grants.mapValues(\.names)
        return host
    }
}
