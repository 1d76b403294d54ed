import Pipeline

/// Why the proxy does not do what it was asked; the status and the reason go back to the command.
struct ProxyRefusal: Error, Hashable {
    let status: Int
    let reason: String

    init(_ status: Int, _ reason: String) {
        self.status = status
        self.reason = reason
    }

    var response: [UInt8] {
        let body = "penstock: \(reason)\n"
        let words = status == 403 ? "Forbidden" : status == 400 ? "Bad Request" : "Gateway Problem"
        return Array(
            ("HTTP/1.1 \(status) \(words)\r\nContent-Type: text/plain\r\n"
                + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)").utf8
        )
    }
}

/// The head of a request to a proxy: `CONNECT host:port`, or any other method with a whole `http://` address.
///
/// Strict, because two readers that differ let one request hide in another: CRLF only, no folding, no space
/// before a colon, one length.
struct ProxyHead: Sendable {
    enum Framing: Sendable, Hashable {
        case none
        case sized(Int)
        case chunked
    }

    static let bytesMax = 32 * 1_024
    private static let fieldsMax = 100

    let method: String
    let isTunnel: Bool
    /// As it was spelled, without brackets; `HostRule.hostName` judges it.
    let host: String
    let port: UInt16
    /// From the slash on.
    private(set) var path: [UInt8]
    private(set) var fields: [(name: String, value: [UInt8])]
    let framing: Framing
    private let version: String

    /// Where the head ends in the bytes, the empty line included; nil when there is more to come.
    static func end(in bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        for index in 3..<bytes.count where bytes[index] == 0x0A {
            if bytes[index - 1] == 0x0D, bytes[index - 2] == 0x0A, bytes[index - 3] == 0x0D {
                return index + 1
            }
        }
        return nil
    }

    /// `host` is given where the connection is already to one: what comes through a tunnel that was opened.
    init(_ bytes: some Collection<UInt8>, within tunnel: (host: String, port: UInt16)? = nil)
        throws(ProxyRefusal)
    {
        let lines = try Self.lines(Array(bytes))
        let words = lines[0].split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, !words[1].isEmpty,
            let method = Self.token(words[0]),
            let version = String(validating: words[2], as: UTF8.self),
            version == "HTTP/1.1" || version == "HTTP/1.0"
        else { throw ProxyRefusal(400, "this is no request line of HTTP/1.1") }
        self.method = method
        self.version = version
        isTunnel = method == "CONNECT" && tunnel == nil
        if let tunnel {
            guard words[1].first == UInt8(ascii: "/"), method != "CONNECT" else {
                throw ProxyRefusal(400, "the request's target must be a path")
            }
            (host, port, path) = (tunnel.host, tunnel.port, Array(words[1]))
        } else {
            (host, port, path) = try isTunnel ? Self.authority(words[1]) : Self.address(words[1])
        }
        fields = try Self.fields(lines.dropFirst())
        if let tunnel { try Self.checkHost(fields, tunnel, isRequired: version == "HTTP/1.1") }
        framing = try Self.framing(fields)
    }

    // MARK: Going on

    /// The head as the host gets it: a path for a target, the host of the address and no other, nothing that
    /// is meant for a proxy, and no further request on the connection.
    func forwarded() -> [UInt8] {
        var dropped: Set<String> = [
            "connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
            "proxy-connection",
            "te", "trailer", "upgrade",
        ]
        for field in fields where field.name.lowercased() == "connection" {
            for name in String(decoding: field.value, as: UTF8.self).lowercased().split(separator: ",") {
                let name = String(name.filter { $0 != " " && $0 != "\t" })
                // Not what frames the body, or it would be read otherwise than it is sent.
                if name != "content-length", name != "transfer-encoding" { dropped.insert(name) }
            }
        }
        var bytes = Array("\(method) ".utf8) + path + Array(" \(version)\r\nHost: \(host)".utf8)
        if port != 80, port != 443 { bytes += Array(":\(port)".utf8) }
        for field in fields where !dropped.contains(field.name.lowercased()) {
            bytes += Array("\r\n\(field.name): ".utf8) + field.value
        }
        return bytes + Array("\r\nConnection: close\r\n\r\n".utf8)
    }

    /// The same with other bytes in its path and values.
    func mapping(
        path change: ([UInt8]) throws(ProxyRefusal) -> [UInt8],
        values changeValue: ([UInt8]) throws(ProxyRefusal) -> [UInt8]
    ) throws(ProxyRefusal) -> ProxyHead {
        var changed = self
        changed.path = try change(path)
        for index in fields.indices { changed.fields[index].value = try changeValue(fields[index].value) }
        return changed
    }
}

// Reading.
extension ProxyHead {
    private static func lines(_ bytes: [UInt8]) throws(ProxyRefusal) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        var start = 0
        while start < bytes.count {
            guard let end = bytes[start...].firstIndex(of: 0x0D), end + 1 < bytes.count,
                bytes[end + 1] == 0x0A
            else { throw ProxyRefusal(400, "a line of the head does not end in CR LF") }
            lines.append(bytes[start..<end])
            start = end + 2
        }
        let isClean = lines.allSatisfy { line in
            line.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
        }
        guard isClean else { throw ProxyRefusal(400, "the head has control characters") }
        guard lines.count >= 2, lines.count <= fieldsMax + 2, lines.last?.isEmpty == true else {
            throw ProxyRefusal(400, "the head has too many fields or none")
        }
        return lines.dropLast()
    }

    private static func token(_ bytes: ArraySlice<UInt8>) -> String? {
        let isToken = bytes.allSatisfy { byte in
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
                || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                || "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
        return bytes.isEmpty || !isToken ? nil : String(decoding: bytes, as: UTF8.self)
    }

    private static func fields(_ lines: ArraySlice<ArraySlice<UInt8>>) throws(ProxyRefusal) -> [(
        name: String, value: [UInt8]
    )] {
        var fields: [(name: String, value: [UInt8])] = []
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), let name = token(line[..<colon]) else {
                throw ProxyRefusal(400, "a field of the head has no name")
            }
            let value = line[(colon + 1)...]
            let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
            fields.append(
                (name, Array(value.drop(while: isBlank).reversed().drop(while: isBlank).reversed()))
            )
        }
        return fields
    }

    /// Whoever reads the request behind us goes by its Host: it is the tunnel's, said once.
    private static func checkHost(
        _ fields: [(name: String, value: [UInt8])],
        _ tunnel: (host: String, port: UInt16),
        isRequired: Bool
    ) throws(ProxyRefusal) {
        let hosts = fields.filter { $0.name.lowercased() == "host" }
        let asked = hosts.first.flatMap { hostAndPort($0.value[...]) }
        let isSame =
            asked.map { HostRule.hostName($0.0) == tunnel.host && ($0.1 ?? 443) == tunnel.port }
            ?? (hosts.isEmpty && !isRequired)
        guard hosts.count <= 1, isSame else {
            throw ProxyRefusal(
                400,
                "a request to another host than \(tunnel.host):\(tunnel.port), which its tunnel leads to"
            )
        }
    }

    private static func framing(_ fields: [(name: String, value: [UInt8])]) throws(ProxyRefusal) -> Framing {
        let lengths = fields.filter { $0.name.lowercased() == "content-length" }
        let codings = fields.filter { $0.name.lowercased() == "transfer-encoding" }
        if let coding = codings.first {
            guard codings.count == 1, lengths.isEmpty,
                String(decoding: coding.value, as: UTF8.self).lowercased() == "chunked"
            else { throw ProxyRefusal(400, "the body's length is said in two ways, or not as chunked") }
            return .chunked
        }
        guard let length = lengths.first else { return .none }
        let isNumber = length.value.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
        guard lengths.count == 1, isNumber, let count = Int(String(decoding: length.value, as: UTF8.self))
        else {
            throw ProxyRefusal(400, "Content-Length is no number, or said twice")
        }
        return .sized(count)
    }

    /// `host:port`.
    private static func authority(_ bytes: ArraySlice<UInt8>) throws(ProxyRefusal) -> (
        String, UInt16, [UInt8]
    ) {
        guard let (host, port) = hostAndPort(bytes), let port else {
            throw ProxyRefusal(400, "CONNECT needs host:port")
        }
        return (host, port, [])
    }

    /// `http://host[:port]/path`.
    private static func address(_ bytes: ArraySlice<UInt8>) throws(ProxyRefusal) -> (String, UInt16, [UInt8])
    {
        let scheme = Array("http://".utf8)
        guard bytes.count > scheme.count,
            String(decoding: bytes.prefix(7), as: UTF8.self).lowercased() == "http://"
        else {
            throw ProxyRefusal(400, "a proxy needs a whole http:// address, or CONNECT for https://")
        }
        let rest = bytes.dropFirst(scheme.count)
        let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.endIndex
        guard let (host, port) = hostAndPort(rest[..<end]) else {
            throw ProxyRefusal(400, "the address has no plain host, or a name and password before it")
        }
        let path = Array(rest[end...])
        return (host, port ?? 80, path.first == UInt8(ascii: "/") ? path : [UInt8(ascii: "/")] + path)
    }

    private static func hostAndPort(_ bytes: ArraySlice<UInt8>) -> (String, UInt16?)? {
        guard let text = String(validating: bytes, as: UTF8.self), !text.isEmpty,
            !text.contains(where: { "@/?#\\".contains($0) })
        else { return nil }
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let rest = text[text.index(after: end)...]
            let host = String(text[text.index(after: text.startIndex)..<end])
            guard !rest.isEmpty else { return (host, nil) }
            guard rest.hasPrefix(":"), let port = UInt16(rest.dropFirst()) else { return nil }
            return (host, port)
        }
        guard let colon = text.firstIndex(of: ":") else { return (text, nil) }
        let host = String(text[..<colon])
        guard !host.isEmpty, let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            return nil
        }
        return (host, port)
    }
}
