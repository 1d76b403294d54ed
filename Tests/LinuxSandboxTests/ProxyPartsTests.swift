import Foundation
import Pipeline
import Testing

@testable import LinuxSandbox

@Suite("What the proxy reads and decides")
struct ProxyPartsTests {
    private func head(_ text: String) throws(ProxyRefusal) -> ProxyHead {
        try ProxyHead(Array(text.replacing("\n", with: "\r\n").utf8))
    }

    @Test("a request goes on with a path, its own host, and nothing that is meant for a proxy")
    func forwards() throws {
        let asked = try head(
            "GET http://Api.example.com/a?b=c HTTP/1.1\nHost: evil.test\nConnection: close, X-Drop\nX-Drop: 1\n"
                + "Proxy-Authorization: Basic eA==\nProxy-Connection: keep-alive\nUpgrade: h2c\nAccept: */*\n\n"
        )

        let forwarded = String(decoding: asked.forwarded(), as: UTF8.self)

        #expect(
            forwarded
                == "GET /a?b=c HTTP/1.1\r\nHost: Api.example.com\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
        #expect(try head("GET http://h.test?q HTTP/1.1\n\n").path == Array("/?q".utf8))
        #expect(try head("CONNECT h.test:443 HTTP/1.1\nHost: h.test:443\n\n").isTunnel)
    }

    static let malformed = [
        "GET / HTTP/1.1\nHost: h.test\n\n",
        "GET https://h.test/ HTTP/1.1\n\n",
        "GET http://user:word@h.test/ HTTP/1.1\n\n",
        "GET http://h.test/ HTTP/2\n\n",
        "GET http://h.test/  HTTP/1.1\n\n",
        "GET http://h.test:0/ HTTP/1.1\n\n",
        "GET http://h.test:x/ HTTP/1.1\n\n",
        "CONNECT h.test HTTP/1.1\n\n",
        "POST http://h.test/ HTTP/1.1\nContent-Length: 1\nContent-Length: 1\n\n",
        "POST http://h.test/ HTTP/1.1\nContent-Length: -1\n\n",
        "POST http://h.test/ HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
        "POST http://h.test/ HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\n",
        "GET http://h.test/ HTTP/1.1\nA : b\n\n",
        "GET http://h.test/ HTTP/1.1\n folded\n\n",
        "GET http://h.test/ HTTP/1.1\nA: b\u{0}c\n\n",
    ]

    @Test("what two readers could take in two ways is refused", arguments: malformed)
    func refuses(text: String) {
        #expect(throws: ProxyRefusal.self) { try head(text) }
    }

    @Test("a body ends where it says, however its bytes are split")
    func framesBodies() throws {
        let chunked = Array("4;x=y\r\nWiki\r\n0\r\nT: v\r\n\r\nGET /next".utf8)
        for piece in 1...chunked.count {
            var framing = BodyFraming(.chunked)
            var taken = 0
            for start in stride(from: 0, to: chunked.count, by: piece) {
                let bytes = Array(chunked[start..<min(start + piece, chunked.count)])
                taken += try framing.take(bytes)
            }
            #expect(framing.isDone)
            #expect(taken == chunked.count - "GET /next".utf8.count, "pieces of \(piece)")
        }
        var sized = BodyFraming(.sized(3))
        #expect(try sized.take(Array("abcdef".utf8)) == 3 && sized.isDone)
        var none = BodyFraming(.none)
        #expect(try none.take(Array("x".utf8)) == 0)
        for wrong in ["x\r\n", "4\nWiki", "\r\n", "FFFFFFFFFFFFFFFF\r\n", "1\r\nab\r\n"] {
            var framing = BodyFraming(.chunked)
            #expect(throws: ProxyRefusal.self) { try framing.take(Array(wrong.utf8)) }
        }
    }

    @Test("rules admit names on ports, never addresses")
    func rules() throws {
        let exact = try #require(HostRule("API.example.com."))
        let below = try #require(HostRule("*.example.org:8443"))
        #expect(
            exact.admits(host: "api.example.com", port: 443)
                && exact.admits(host: "api.example.com", port: 80)
        )
        #expect(
            !exact.admits(host: "api.example.com", port: 22)
                && !exact.admits(host: "x.api.example.com", port: 443)
        )
        #expect(
            below.admits(host: "a.b.example.org", port: 8_443)
                && !below.admits(host: "example.org", port: 8_443)
        )
        #expect(
            !below.admits(host: "badexample.org", port: 8_443)
                && !below.admits(host: "a.example.org", port: 443)
        )
        let noNames = [
            "", "*", "a.*.b", "127.0.0.1", "0x7f.1", "2130706433", "0x7f000001", "017700000001", "[::1]",
            "::1",
            "a..b", "-a.test", "a b", "h.test:0", "h.test:99999", "h\u{E9}.test", "1.2.3.4.",
        ]
        for text in noNames { #expect(HostRule(text) == nil, "\(text)") }
    }

    @Test("only addresses of the public Internet are public")
    func addresses() throws {
        let privateOnes = [
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255", "192.168.1.1", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255",
            "100.100.100.200", "168.63.129.16", "::", "::1", "fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1",
            "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1",
            "2001:db8::1",
        ]
        for text in privateOnes { #expect(NetworkAddress(text)?.isPublic == false, "\(text)") }
        for text in [
            "1.1.1.1", "172.15.0.1", "172.32.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "100.63.0.1",
        ] {
            #expect(NetworkAddress(text)?.isPublic == true, "\(text)")
        }
        let range = try #require(AddressRange("10.128.0.0/9"))
        #expect(range.contains(try #require(NetworkAddress("10.200.0.1"))))
        #expect(!range.contains(try #require(NetworkAddress("10.1.0.1"))))
        for text in ["10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "x/8", ""] {
            #expect(AddressRange(text) == nil)
        }
    }

    @Test("a name that leads to a private address is refused, unless its network is an exception")
    func resolvedAddresses() throws {
        var hosts = SandboxHosts(allowed: [], label: "test")
        let metadata = try #require(NetworkAddress("169.254.169.254"))
        let good = try #require(NetworkAddress("1.1.1.1"))

        #expect(try ProxyPolicy(hosts: hosts).reachable([metadata, good], of: "h.test") == [good])
        #expect(throws: ProxyRefusal.self) {
            try ProxyPolicy(hosts: hosts).reachable([metadata], of: "h.test")
        }
        hosts.privateNetworks = [try #require(AddressRange("169.254.169.254"))]
        #expect(try ProxyPolicy(hosts: hosts).reachable([metadata], of: "h.test") == [metadata])
    }

    @Test("a secret takes its placeholder's place for its hosts, and is refused to others")
    func secrets() throws {
        var hosts = SandboxHosts(allowed: [], label: "test")
        let rule = try #require(HostRule("api.test:80"))
        let secret = SandboxSecret(name: "KEY", value: "s3 cr&t", hosts: [rule])
        hosts.secrets = [secret]
        let policy = ProxyPolicy(hosts: hosts)
        let text =
            "GET http://api.test/?k=\(secret.placeholder) HTTP/1.1\nA: Bearer \(secret.placeholder)\n\n"

        let revealed = try policy.revealing(try head(text), to: "api.test", overTLS: false)
            .forwarded()

        #expect(
            String(decoding: revealed, as: UTF8.self)
                == "GET /?k=s3%20cr%26t HTTP/1.1\r\nHost: api.test\r\nA: Bearer s3 cr&t\r\nConnection: close\r\n\r\n"
        )
        #expect(throws: ProxyRefusal.self) {
            try policy.revealing(try head(text), to: "other.test", overTLS: false)
        }
        #expect(!"\(secret)".contains("s3"))
    }

    @Test("no tunnel leads to where a secret is bound: its placeholder would arrive")
    func refusesTunnelsOfSecrets() throws {
        let bound = try #require(HostRule("api.test:443"))
        let free = try #require(HostRule("free.test"))
        var hosts = SandboxHosts(allowed: [bound, free], label: "test")
        hosts.secrets = [SandboxSecret(name: "KEY", value: "s3", hosts: [bound])]
        let policy = ProxyPolicy(hosts: hosts)

        let refusal = #expect(throws: ProxyRefusal.self) {
            try policy.admit(try head("CONNECT api.test:443 HTTP/1.1\n\n"))
        }

        let words = refusal.map { "\($0)" } ?? ""
        #expect(words.contains("descriptor_secrets") && words.contains("intercept_tls"), "\(words)")
        #expect(try policy.admit(try head("CONNECT free.test:443 HTTP/1.1\n\n")) == "free.test")
    }
}

@Suite("What the proxy reads within TLS")
struct InterceptedHeadTests {
    private func head(_ text: String, port: UInt16 = 443) throws(ProxyRefusal) -> ProxyHead {
        try ProxyHead(Array(text.replacing("\n", with: "\r\n").utf8), within: ("api.test", port))
    }

    @Test("a request to the tunnel's host, by path")
    func reads() throws {
        let asked = try head("GET /a?b HTTP/1.1\nhost: API.test\nConnection: keep-alive\nA: b\n\n")

        let forwarded = String(decoding: asked.forwarded(), as: UTF8.self)
        #expect(forwarded == "GET /a?b HTTP/1.1\r\nHost: api.test\r\nA: b\r\nConnection: close\r\n\r\n")
        #expect(throws: Never.self) { try head("GET / HTTP/1.1\nHost: api.test:8443\n\n", port: 8_443) }
        #expect(throws: Never.self) { try head("GET / HTTP/1.0\n\n") }
    }

    static let wrong = [
        "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\nHost: b.test\n\n", "GET / HTTP/1.1\nHost: api.test:80\n\n",
        "GET / HTTP/1.1\nHost: api.test\nHost: b.test\n\n", "GET / HTTP/1.1\nHost: api.test, b.test\n\n",
        "GET / HTTP/1.1\nHost: b.test@api.test\n\n", "GET / HTTP/1.1\nHost:\n\n", "PRI * HTTP/2.0\n\n",
        "GET https://b.test/ HTTP/1.1\nHost: api.test\n\n",
        "GET http://api.test/ HTTP/1.1\nHost: api.test\n\n",
        "CONNECT api.test:443 HTTP/1.1\nHost: api.test\n\n", "OPTIONS * HTTP/1.1\nHost: api.test\n\n",
        "GET / HTTP/1.0\nHost: b.test\n\n",
    ]

    @Test("what names another host, or none, is refused", arguments: wrong)
    func refuses(text: String) {
        #expect(throws: ProxyRefusal.self) { try head(text) }
    }

    @Test("each secret goes the way it is meant for and no other")
    func secrets() throws {
        let rule = try #require(HostRule("api.test"))
        var hosts = SandboxHosts(allowed: [rule], label: "test")
        let plain = SandboxSecret(name: "PLAIN", value: "v1", hosts: [rule])
        let wrapped = SandboxSecret(name: "WRAPPED", value: "v2", hosts: [rule], interceptsTLS: true)
        hosts.secrets = [plain, wrapped]
        let policy = ProxyPolicy(hosts: hosts)
        func revealed(_ secret: SandboxSecret, _ overTLS: Bool) throws(ProxyRefusal) -> String {
            let asked = try head("GET / HTTP/1.1\nHost: api.test\nA: \(secret.placeholder)\n\n")
            let head = try policy.revealing(asked, to: "api.test", overTLS: overTLS)
            return String(decoding: head.forwarded(), as: UTF8.self)
        }

        #expect(policy.intercepts("api.test", 443) && !policy.intercepts("b.test", 443))
        #expect(try revealed(plain, false).contains("A: v1\r\n"))
        #expect(try revealed(wrapped, true).contains("A: v2\r\n"))
        #expect(throws: ProxyRefusal.self) { try revealed(plain, true) }
        #expect(throws: ProxyRefusal.self) { try revealed(wrapped, false) }
    }
}

@Suite("The name in a TLS client's hello")
struct ClientHelloTests {
    /// A hello with one extension, in records of at most `most` bytes.
    private func hello(_ name: String?, recordBytes most: Int = 16_384) -> [UInt8] {
        func block(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
            (0..<count).reversed().map { UInt8(truncatingIfNeeded: bytes.count >> ($0 * 8)) } + bytes
        }
        let names = name.map { block([0] + block(Array($0.utf8), 2), 2) }
        let extensions = [0, 23, 0, 0] + (names.map { [0, 0] + block($0, 2) } ?? [])
        let body: [UInt8] =
            [3, 3] + [UInt8](repeating: 7, count: 32) + block([], 1) + block([0x13, 1], 2) + block([0], 1)
            + block(extensions, 2)
        let message = [1] + block(body, 3)
        return stride(from: 0, to: message.count, by: most).flatMap { start in
            [0x16, 3, 1] + block(Array(message[start..<min(start + most, message.count)]), 2)
        }
    }

    @Test("is found, whole or in pieces")
    func reads() {
        for bytes in [hello("api.test"), hello("api.test", recordBytes: 7)] {
            #expect(ClientHello.read(bytes) == .name("api.test"))
            for count in 0..<bytes.count { #expect(ClientHello.read(Array(bytes[..<count])) == .incomplete) }
        }
        #expect(ClientHello.read(hello(nil)) == .name(nil))
    }

    @Test("what is not TLS is told at once")
    func refuses() {
        #expect(ClientHello.read(Array("SSH-2.0-x".utf8)) == .notTLS)
        #expect(ClientHello.read(Array("GET / HTTP/1.1\r\n".utf8)) == .notTLS)
        #expect(ClientHello.read([0x16, 3, 1, 0, 4, 2, 0, 0, 0]) == .notTLS)
        var generator = SystemRandomNumberGenerator()
        // Whatever comes, it ends in an answer.
        for _ in 0..<2_000 {
            var bytes = hello("api.test")
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(
                in: 0...255,
                using: &generator
            )
            _ = ClientHello.read(bytes)
        }
    }
}
