import Glibc

/// An IP address: 4 or 16 bytes, in the order of the network.
package struct NetworkAddress: Sendable, Hashable, CustomStringConvertible {
    package let bytes: [UInt8]

    /// `bytes` has 4 or 16 of them. An IPv4 address in IPv6's clothes is that IPv4 address.
    package init(_ bytes: [UInt8]) {
        precondition(bytes.count == 4 || bytes.count == 16, "\(bytes.count) bytes are no address")
        let isMapped =
            bytes.count == 16 && bytes[..<10].allSatisfy { $0 == 0 } && bytes[10...11] == [255, 255]
        self.bytes = isMapped ? Array(bytes[12...]) : bytes
    }

    /// `192.0.2.1` or `2001:db8::1`.
    package init?(_ text: String) {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, text, &bytes) == 1 {
                self.init(bytes)
                return
            }
        }
        return nil
    }

    package var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count))
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether it is somebody's on the Internet: not this machine, not a private or link-local network, not a
    /// cloud's metadata service, not a group, not one that stands for another address.
    package var isPublic: Bool {
        if bytes.count == 4 { return !Self.special.contains { $0.contains(self) } }
        // All that is given out lies in 2000::/3.
        return bytes[0] & 0xE0 == 0x20 && !Self.special.contains { $0.contains(self) }
    }

    /// IANA's special-purpose registries, and the address of one cloud's metadata service that looks public.
    private static let special = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
        // Teredo and its like; documentation; 6to4, which carries an IPv4 address.
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ].compactMap(AddressRange.init)
}

/// `10.1.0.0/16`, `fd00::/8`; an address alone is a range of one.
package struct AddressRange: Sendable, Hashable, CustomStringConvertible {
    private let first: NetworkAddress
    private let bits: Int

    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = NetworkAddress(String(parts[0])) else { return nil }
        let most = address.bytes.count * 8
        guard let bits = parts.count == 2 ? Int(parts[1]) : most, 0...most ~= bits else { return nil }
        first = address
        self.bits = bits
    }

    package var description: String { "\(first)/\(bits)" }

    package func contains(_ address: NetworkAddress) -> Bool {
        guard address.bytes.count == first.bytes.count else { return false }
        return (0..<address.bytes.count).allSatisfy { index in
            let used = min(max(bits - index * 8, 0), 8)
            let mask = UInt8(truncatingIfNeeded: 0xFF00 >> used)
            return address.bytes[index] & mask == first.bytes[index] & mask
        }
    }
}
