/// A host that a skill may reach: `api.example.com`, `*.example.com` for every name below it, either with
/// `:port`. Without a port it means 443 and 80.
package struct HostRule: Sendable, Hashable, CustomStringConvertible {
    /// Lower case, without a dot at the end; of `*.example.com` what follows the star and its dot.
    package let name: String
    package let isBelow: Bool
    package let port: UInt16?

    /// Nil for what is no name: empty, an address, a star elsewhere than at the front, a port out of range.
    package init?(_ text: String) {
        var rest = text[...]
        var port: UInt16?
        if let colon = rest.lastIndex(of: ":") {
            guard let number = UInt16(rest[rest.index(after: colon)...]), number > 0 else { return nil }
            port = number
            rest = rest[..<colon]
        }
        isBelow = rest.hasPrefix("*.")
        if isBelow { rest = rest.dropFirst(2) }
        guard let name = Self.hostName(String(rest)) else { return nil }
        self.name = name
        self.port = port
    }

    package var description: String { (isBelow ? "*." : "") + name + (port.map { ":\($0)" } ?? "") }

    package func admits(host: String, port: UInt16) -> Bool {
        let isPort = self.port.map { $0 == port } ?? (port == 443 || port == 80)
        return isPort && (isBelow ? host.hasSuffix("." + name) : host == name)
    }

    /// The name as it is compared, or nil when it is no name of a host. An address is none, in whatever
    /// spelling: names whose last label is a number are read as addresses by some programs.
    package static func hostName(_ text: String) -> String? {
        var name = text.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        guard !name.isEmpty, name.utf8.count <= 253 else { return nil }
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        let isPlain = labels.allSatisfy { label in
            !label.isEmpty && label.utf8.count <= 63 && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy {
                    UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0
                        || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                }
        }
        guard isPlain, let last = labels.last, let first = last.utf8.first else { return nil }
        return UInt8(ascii: "0")...UInt8(ascii: "9") ~= first ? nil : name
    }
}
