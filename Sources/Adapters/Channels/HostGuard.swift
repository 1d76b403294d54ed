package import Pipeline

/// Refuses requests that a page of another site makes a browser send.
///
/// A name that an attacker owns can be made to resolve to this machine (DNS rebinding), an address cannot: so
/// addresses and `localhost` are always welcome, and other names when they are set.
package struct HostGuard: Sendable {
    /// Lower-case names without port.
    private let names: Set<String>

    package init(names: [String]) {
        self.names = Set(names.map { $0.lowercased() })
    }

    /// The host alone: for what another site may link to.
    package func checkHost(_ request: HTTPRequest) throws(ReceiveError) {
        guard let host = request.fields["Host"], isWelcome(host) else {
            throw ReceiveError(.forbidden, "the Host header names neither an address nor a name that is set")
        }
    }

    package func check(_ request: HTTPRequest) throws(ReceiveError) {
        try checkHost(request)
        let host = request.fields["Host"] ?? ""
        if let origin = request.fields["Origin"] {
            let authority =
                origin.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).first ?? ""
            guard authority.lowercased() == host.lowercased() else {
                throw ReceiveError(.forbidden, "the request comes from a page of another site")
            }
        }
        if let site = request.fields["Sec-Fetch-Site"], site != "same-origin", site != "none" {
            throw ReceiveError(.forbidden, "the request comes from a page of another site")
        }
    }

    private func isWelcome(_ host: String) -> Bool {
        let name = Self.name(of: host.lowercased())
        if name.hasPrefix("[") && name.hasSuffix("]") { return true }
        return name == "localhost" || Self.isAddress(name) || names.contains(name)
    }

    private static func name(of host: String) -> String {
        if host.hasPrefix("["), let end = host.firstIndex(of: "]") { return String(host[...end]) }
        return String(host.prefix { $0 != ":" })
    }

    private static func isAddress(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8(strictly: $0) != nil }
    }
}
