import Crypto
import Foundation
import Testing

@Suite("TLS without sockets")
struct TLSTests {
    private let authority: CertificateAuthority
    private let folder: TemporaryFiles

    init() throws {
        authority = try CertificateAuthority(names: ["api.test", "maps.test"], seconds: 600)
        folder = try TemporaryFiles()
        try folder.write("ca.pem", authority.certificatePEM)
    }

    private func server(_ host: String, by other: CertificateAuthority? = nil) throws -> TLSEngine {
        try TLSEngine(server: try TLSContext(server: try (other ?? authority).identity(for: host)))
    }

    private func client(_ host: String) throws -> TLSEngine {
        try TLSEngine(client: try TLSContext(clientTrusting: folder.path + "/ca.pem"), host: host)
    }

    /// Passes bytes until neither has any, in pieces; what each heard.
    private func talk(_ client: TLSEngine, _ server: TLSEngine, piece: Int = 4_096) throws -> (
        client: String, server: String
    ) {
        var heard: (client: [UInt8], server: [UInt8]) = ([], [])
        while true {
            let (there, back) = (client.takeOutgoing(), server.takeOutgoing())
            guard !there.isEmpty || !back.isEmpty else { break }
            for start in stride(from: 0, to: there.count, by: piece) {
                heard.server += try server.receive(Array(there[start..<min(start + piece, there.count)]))
            }
            for start in stride(from: 0, to: back.count, by: piece) {
                heard.client += try client.receive(Array(back[start..<min(start + piece, back.count)]))
            }
        }
        return (String(decoding: heard.client, as: UTF8.self), String(decoding: heard.server, as: UTF8.self))
    }

    @Test("two sides shake hands, talk and end, however the bytes are split", arguments: [1, 7, 100_000])
    func talks(piece: Int) throws {
        let (client, server) = (try client("api.test"), try server("api.test"))
        _ = try talk(client, server, piece: piece)
        #expect(client.isEstablished && server.isEstablished)

        try client.send(Array("question".utf8))
        try server.send(Array(String(repeating: "a", count: 100_000).utf8))
        let heard = try talk(client, server, piece: piece)
        server.end()
        _ = try talk(client, server)

        #expect(heard.server == "question" && heard.client.count == 100_000)
        #expect(client.hasEnded && !server.hasEnded)
    }

    @Test("a client refuses another's name, and whom it does not trust; the server hears of it")
    func refuses() throws {
        let stranger = try CertificateAuthority(names: ["api.test"], seconds: 600)
        let wrong = [
            (try server("maps.test"), "hostname mismatch"),
            (try server("api.test", by: stranger), "unable to get local issuer certificate"),
        ]
        for (server, words) in wrong {
            let client = try client("api.test")
            let error = #expect(throws: TLSError.self) { try talk(client, server) }
            #expect(error?.detail.contains(words) == true, "\(error?.detail ?? "")")
            #expect(!client.isEstablished)
            #expect(throws: TLSError.self) { try server.receive(client.takeOutgoing()) }
        }
    }

    @Test("what is no TLS is an error on either side, and a broken record too")
    func refusesOthers() throws {
        let error = #expect(throws: TLSError.self) {
            try self.server("api.test").receive(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        }
        #expect(error?.detail.contains("http request") == true, "\(error?.detail ?? "")")
        #expect(throws: TLSError.self) {
            try self.client("api.test").receive(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8))
        }

        let (client, server) = (try client("api.test"), try server("api.test"))
        _ = try talk(client, server)
        try client.send(Array("question".utf8))
        var record = client.takeOutgoing()
        record[record.count - 1] ^= 1
        #expect(throws: TLSError.self) { try server.receive(record) }
    }

    @Test("openssl verifies the certificates, and refuses a name that the authority may not certify")
    func verifies() throws {
        let other = try CertificateAuthority(names: ["api.test"], seconds: 600)
        try folder.write("good.pem", try authority.identity(for: "api.test").certificatePEM)
        try folder.write("below.pem", try authority.identity(for: "a.maps.test").certificatePEM)
        try folder.write("beyond.pem", try authority.identity(for: "bank.test").certificatePEM)
        try folder.write("other.pem", try other.identity(for: "api.test").certificatePEM)

        func verify(_ name: String) throws -> String {
            let words = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem", name]
            return try folder.openssl(words)
        }

        #expect(try verify("good.pem") == "good.pem: OK\n")
        #expect(try verify("below.pem") == "below.pem: OK\n")
        #expect(try verify("beyond.pem").contains("permitted subtree violation"))
        #expect(try verify("other.pem").contains("verification failed"))
        let text = try folder.openssl(["x509", "-in", "ca.pem", "-noout", "-text"])
        for words in ["CA:TRUE, pathlen:0", "Certificate Sign", "DNS:api.test", "Name Constraints: critical"]
        {
            #expect(text.contains(words), "\(words) in \(text)")
        }
    }

    @Test("a file without certificates is an error")
    func refusesFiles() throws {
        try folder.write("empty.pem", [])
        for name in ["/empty.pem", "/none.pem"] {
            #expect(throws: TLSError.self) { try TLSContext(clientTrusting: folder.path + name) }
        }
    }

    @Test(
        "a name is a name: nothing that could add to a certificate",
        arguments: ["", "a,DNS:b", "*.a", "é"]
    )
    func refusesNames(name: String) {
        #expect(throws: TLSError.self) { try authority.identity(for: name) }
        #expect(throws: TLSError.self) { try CertificateAuthority(names: [name], seconds: 600) }
    }
}

/// A folder that goes with the test.
private final class TemporaryFiles: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "penstock-tls-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit {
        // Nothing can be done about a folder that stays.
        try? FileManager.default.removeItem(atPath: path)
    }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
    }

    /// What it says, both streams.
    func openssl(_ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: path)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let said = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: said, as: UTF8.self)
    }
}
