import Pipeline

/// What one run may reach: decides by name before anything is resolved, and by address after.
struct ProxyPolicy {
    let hosts: SandboxHosts

    /// The host's name as it is resolved.
    func admit(_ head: ProxyHead) throws(ProxyRefusal) -> String {
        guard let name = HostRule.hostName(head.host) else {
            throw ProxyRefusal(403, "\(head.host) is no host's name: addresses are refused, name the host")
        }
        guard hosts.allowed.contains(where: { $0.admits(host: name, port: head.port) }) else {
            throw ProxyRefusal(403, "\(name):\(head.port) is not among the hosts that this skill may reach")
        }
        // Its placeholder would arrive as it is.
        if head.isTunnel, !intercepts(name, head.port),
            let secret = hosts.secrets.first(where: { isFor(name, head.port, $0) })
        {
            throw ProxyRefusal(
                403,
                "the secret \(secret.name) of \(name):\(head.port) can not be written into TLS: "
                    + "let the proxy read it (intercept_tls: true), grant it under descriptor_secrets, "
                    + "or bind it to the port of plain http only"
            )
        }
        return name
    }

    /// Whether the proxy ends the TLS of a tunnel to the host, to write secrets into its requests.
    func intercepts(_ name: String, _ port: UInt16) -> Bool {
        hosts.secrets.contains { $0.interceptsTLS && isFor(name, port, $0) }
    }

    /// Those that may be connected to; a name that leads elsewhere only is refused.
    func reachable(_ addresses: [NetworkAddress], of name: String) throws(ProxyRefusal) -> [NetworkAddress] {
        guard !addresses.isEmpty else { throw ProxyRefusal(502, "\(name) has no address") }
        let reachable = addresses.filter { address in
            address.isPublic || hosts.privateNetworks.contains { $0.contains(address) }
        }
        guard !reachable.isEmpty else {
            throw ProxyRefusal(403, "\(name) leads to an address that is not public")
        }
        return reachable
    }

    /// The head with secrets in place of their placeholders, where the host is one of theirs.
    func revealing(
        _ head: ProxyHead,
        to name: String,
        overTLS: Bool
    ) throws(ProxyRefusal) -> ProxyHead {
        guard !hosts.secrets.isEmpty else { return head }
        return try head.mapping(
            path: { bytes throws(ProxyRefusal) in
                try reveal(bytes, to: (name, head.port, overTLS)) { Self.percentEncoded($0) }
            },
            values: { bytes throws(ProxyRefusal) in
                try reveal(bytes, to: (name, head.port, overTLS)) { Array($0.utf8) }
            }
        )
    }

    private func reveal(
        _ bytes: [UInt8],
        to host: (name: String, port: UInt16, isOverTLS: Bool),
        as encode: (String) -> [UInt8]
    ) throws(ProxyRefusal) -> [UInt8] {
        var bytes = bytes
        for secret in hosts.secrets {
            let placeholder = Array(secret.placeholder.utf8)
            var from = 0
            while let found = Self.find(placeholder, in: bytes, from: from) {
                guard isFor(host.name, host.port, secret) else {
                    throw ProxyRefusal(403, "the secret \(secret.name) is not for \(host.name):\(host.port)")
                }
                guard secret.interceptsTLS == host.isOverTLS else {
                    let way = secret.interceptsTLS ? "https" : "plain http"
                    throw ProxyRefusal(403, "the secret \(secret.name) goes over \(way) only")
                }
                let value = encode(secret.value)
                bytes.replaceSubrange(found..<found + placeholder.count, with: value)
                from = found + value.count
            }
        }
        return bytes
    }

    private func isFor(_ name: String, _ port: UInt16, _ secret: SandboxSecret) -> Bool {
        secret.hosts.contains { $0.admits(host: name, port: port) }
    }

    private static func find(_ needle: [UInt8], in bytes: [UInt8], from: Int) -> Int? {
        guard bytes.count - from >= needle.count else { return nil }
        return (from...bytes.count - needle.count).first { start in
            bytes[start] == needle[0] && bytes[start..<start + needle.count].elementsEqual(needle)
        }
    }

    private static func percentEncoded(_ text: String) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return text.utf8.flatMap { byte -> [UInt8] in
            let isPlain =
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
                || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                || "-._~".utf8.contains(byte)
            return isPlain ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
}
