import Foundation
import LinuxSandbox
import Pipeline
import Synchronization
import Testing

/// Skills with a grant reach the hosts they were granted and nothing else; by real programs, to real servers.
@Suite("The network of a skill")
struct NetworkPolicyTests {
    /// One test's ground. `api.test` and all below it lead to this machine's server, `meta.test` to a cloud's
    /// metadata service.
    private struct Ground {
        let server: WebServer
        let sandbox: LinuxSandbox
        let hosts: SandboxHosts

        init(_ builder: Builder, isTLS: Bool = false, others: [String] = []) throws {
            server = try (isTLS ? WebServer.overTLS : WebServer.plain).get()
            sandbox = try #require(Self.sandboxes[builder]).get()
            let rules = ["api.test:\(server.port)", "*.api.test:\(server.port)"] + others
            // The label tells this test's records from the others'.
            let label = "test-\(UInt64.random(in: 0 ... .max))"
            var hosts = SandboxHosts(allowed: rules.compactMap(HostRule.init), label: label)
            hosts.privateNetworks = [try #require(AddressRange("127.0.0.0/8"))]
            self.hosts = hosts
        }

        private static let log = RecordLog()

        /// One sandbox for each builder serves every test.
        private static let sandboxes = Dictionary(
            uniqueKeysWithValues: Builder.here.map { builder in
                var settings = builder.settings
                settings.resolve = { name in address(name).flatMap(NetworkAddress.init).map { [$0] } ?? [] }
                settings.audit = { record in log.records.withLock { $0.append(record) } }
                return (builder, Result { [settings] in try LinuxSandbox(settings) })
            }
        )

        var port: UInt16 { server.port }

        var records: [SandboxConnection] {
            Self.log.records.withLock { $0.filter { $0.label == hosts.label } }
        }

        private static func address(_ name: String) -> String? {
            switch name {
            case "meta.test": "169.254.169.254"
            case "ten.test": "10.0.0.1"
            default: name == "api.test" || name.hasSuffix(".api.test") ? "127.0.0.1" : nil
            }
        }

        func run(_ script: String, _ hosts: SandboxHosts? = nil) async throws -> SandboxOutcome {
            var run = SandboxRun(command: ["bash", "-c", script])
            run.network = .hosts(hosts ?? self.hosts)
            return try await sandbox.run(run) { _, _ in }
        }
    }

    private final class RecordLog: Sendable {
        let records = Mutex<[SandboxConnection]>([])
    }

    @Test("curl, python and git reach a granted host by their own means", arguments: Builder.here)
    func programsReachGrantedHosts(builder: Builder) async throws {
        let ground = try Ground(builder)
        let address = "http://api.test:\(ground.port)"

        let curl = try await ground.run("curl -sS -d body \(address)/curl")
        let python = try await ground.run(
            "python3 -c 'import urllib.request as u; print(u.urlopen(\"\(address)/python\").read().decode())'",
            ground.hosts
        )
        let git = try await ground.run("git ls-remote \(address)/git; true")

        #expect(curl.succeeded && curl.text.hasPrefix("POST /curl HTTP/1.1\n"), "\(curl.text)")
        #expect(curl.text.hasSuffix("body") && curl.text.contains("Host: api.test:\(ground.port)\n"))
        #expect(python.succeeded && python.text.hasPrefix("GET /python HTTP/1.1\n"), "\(python.text)")
        #expect(!git.text.contains("resolve host"), "\(git.text)")
        let seen = ground.records
        #expect(seen.count == 3 && seen.allSatisfy { $0.isAllowed && $0.host == "api.test" })
        #expect(seen.allSatisfy { $0.status == 200 && $0.receivedBytes > 100 && $0.sentBytes > 50 })
    }

    @Test("TLS goes through as a tunnel that only its ends can read", arguments: Builder.here)
    func tunnels(builder: Builder) async throws {
        let ground = try Ground(builder, isTLS: true)
        let trust = try String(contentsOfFile: ground.server.certificate, encoding: .utf8)
        let script =
            "cat >c.pem <<X\n\(trust)X\ncurl -sS --cacert c.pem https://api.test:\(ground.port)/over-tls"

        let outcome = try await ground.run(script)

        #expect(outcome.succeeded && outcome.text.hasPrefix("GET /over-tls HTTP/1.1"), "\(outcome.text)")
        #expect(ground.records.map(\.isAllowed) == [true])
    }

    static let refusals: [(name: String, script: String, reason: String)] = [
        ("a host that is not granted", "curl -s http://other.test/", "not among the hosts"),
        ("a port that is not granted", "curl -s http://api.test:1/", "not among the hosts"),
        ("an address", "curl -s http://127.0.0.1:PORT/", "no host's name"),
        (
            "an address as one number",
            "printf 'GET http://2130706433:PORT/ HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3", "no host's name"
        ),
        ("an address of version 6", "curl -s 'http://[::1]:PORT/'", "no host's name"),
        ("a name that leads to the metadata service", "curl -s http://meta.test/", "not public"),
        ("a name that leads into a private network", "curl -s http://ten.test/", "not public"),
        ("a redirect to the metadata service", "curl -sL http://api.test:PORT/redirect", "no host's name"),
        ("a tunnel to what is not granted", "curl -sS -k https://other.test/", "403"),
        (
            "a name without an address", "curl -s http://gone.api.test:PORT/x http://nowhere.test/",
            "has no address"
        ),
        (
            "another host by the Host field", "curl -s -H 'Host: other.test' http://api.test:PORT/",
            "Host: api.test:PORT"
        ),
        (
            "a second request behind the first",
            "printf 'GET http://api.test:PORT/one HTTP/1.1\\r\\n\\r\\nGET /two HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n' >&3; cat <&3",
            "GET /one"
        ),
    ]

    @Test("what is not granted is refused, and says why", arguments: refusals.map(\.name), Builder.here)
    func refuses(name: String, builder: Builder) async throws {
        let ground = try Ground(builder, others: ["meta.test", "ten.test", "nowhere.test"])
        let refusal = try #require(Self.refusals.first { $0.name == name })
        let script = "exec 3<>/dev/tcp/127.0.0.1/3128; \(refusal.script)".replacing(
            "PORT",
            with: "\(ground.port)"
        )

        let outcome = try await ground.run(script)

        let reason = refusal.reason.replacing("PORT", with: "\(ground.port)")
        #expect(outcome.text.contains(reason), "\(outcome.ending) \(outcome.text)")
        #expect(!outcome.text.contains("/two") && !outcome.text.contains("other.test\n"), "\(outcome.text)")
        #expect(ground.records.contains { $0.reason != nil || $0.isAllowed })
    }

    @Test("a tunnel carries TLS to its own host and nothing else", arguments: Builder.here)
    func refusesWrongTunnels(builder: Builder) async throws {
        let ground = try Ground(builder)
        let open =
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT api.test:\(ground.port) HTTP/1.1\\r\\n\\r\\n' >&3"

        let plain = try await ground.run("\(open); printf 'GET /in-tunnel HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3")
        let other = try await ground.run(
            "curl -sS -k --connect-to other.test:443:api.test:\(ground.port) https://other.test/",
            ground.hosts
        )

        #expect(!plain.text.contains("in-tunnel"), "\(plain.text)")
        #expect(!other.succeeded)
        let reasons = ground.records.compactMap(\.reason)
        #expect(reasons.contains { $0.contains("does not speak TLS") }, "\(reasons)")
        #expect(reasons.contains { $0.contains("asks for other.test") }, "\(reasons)")
    }

    @Test("secrets stay outside: a placeholder inside, the value at the host", arguments: Builder.here)
    func keepsSecretsOutside(builder: Builder) async throws {
        let ground = try Ground(builder)
        var hosts = ground.hosts
        let bound = try #require(HostRule("api.test:\(ground.port)"))
        hosts.secrets = [SandboxSecret(name: "API_KEY", value: "very-secret-value", hosts: [bound])]
        let request = "curl -sS -H \"Authorization: Bearer $API_KEY\""

        let inside = try await ground.run("env; cat /proc/*/environ", hosts)
        let atHost = try await ground.run(
            "\(request) http://api.test:\(ground.port)/?k=$API_KEY | wc -c",
            hosts
        )
        let seenAtHost = try await ground.run("\(request) http://api.test:\(ground.port)/", hosts)
        let elsewhere = try await ground.run("\(request) http://b.api.test:\(ground.port)/", hosts)
        let tunnel = try await ground.run("\(request) https://api.test:\(ground.port)/ 2>&1 || true", hosts)

        #expect(inside.text.contains("API_KEY=penstock-secret") && !inside.text.contains("very-secret-value"))
        #expect(atHost.succeeded)
        // The server of this test says back what it got.
        #expect(seenAtHost.text.contains("Bearer very-secret-value"), "\(seenAtHost.text)")
        #expect(elsewhere.text.contains("is not for b.api.test"), "\(elsewhere.text)")
        #expect(!elsewhere.text.contains("very-secret-value"))
        #expect(tunnel.text.contains("403"), "\(tunnel.text)")
    }

    @Test(
        "a secret for the command itself comes by a descriptor, and is in no environment",
        arguments: Builder.here
    )
    func handsOverSecrets(builder: Builder) async throws {
        var run = SandboxRun(command: [
            "bash", "-c", "read -r line <&3; echo \"$line\"; cat /proc/*/environ | tr '\\0' '\\n'",
        ])
        run.descriptorSecrets = ["TOKEN": "for-the-command", "U": "x"]

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        #expect(outcome.text.hasPrefix("TOKEN=for-the-command\n"), "\(outcome.text)")
        #expect(outcome.text.components(separatedBy: "for-the-command").count == 2)
    }

    @Test("responses end at the run's cap, with an error", arguments: Builder.here)
    func capsResponses(builder: Builder) async throws {
        let ground = try Ground(builder)
        var hosts = ground.hosts
        hosts.responseBytesMax = 1_000_000
        let small = try await ground.run("curl -sS http://api.test:\(ground.port)/", hosts)

        let outcome = try await ground.run(
            "curl -sS -o f http://api.test:\(ground.port)/large; echo $?",
            hosts
        )

        #expect(small.succeeded)
        #expect(!outcome.text.hasSuffix("\n0\n") && !outcome.text.hasPrefix("0"), "\(outcome.text)")
        #expect(ground.records.last?.reason?.contains("over 1000000 bytes") == true)
    }

    @Test("a hundred connections at once all come through", arguments: Builder.here)
    func manyConnections(builder: Builder) async throws {
        let ground = try Ground(builder)
        var hosts = ground.hosts
        hosts.connectionsMax = 8
        let script = """
            import concurrent.futures as c, urllib.request as u
            def get(n): return len(u.urlopen("http://api.test:\(ground.port)/%d" % n).read()) > 50
            with c.ThreadPoolExecutor(20) as pool: print(sum(pool.map(get, range(100))))
            """
        var run = SandboxRun(command: ["python3", "-c", script])
        run.network = .hosts(hosts)

        let outcome = try await ground.sandbox.run(run) { _, _ in }

        #expect(outcome.text == "100\n", "\(outcome.text)")
        #expect(ground.records.count == 100)
    }

    @Test("the door is the only thing to connect to, and TCP over IPv4 the only way", arguments: Builder.here)
    func onlyTheDoor(builder: Builder) async throws {
        let ground = try Ground(builder)
        let script = """
            import socket, errno
            def attempt(family, kind, protocol=0):
                try: socket.socket(family, kind, protocol).close(); return "made"
                except OSError: return "refused"
            print(attempt(socket.AF_INET6, socket.SOCK_STREAM), attempt(socket.AF_INET, socket.SOCK_DGRAM),
                attempt(socket.AF_INET, socket.SOCK_RAW, 1), attempt(socket.AF_NETLINK, socket.SOCK_RAW),
                attempt(socket.AF_INET, socket.SOCK_STREAM, 262), attempt(socket.AF_PACKET, socket.SOCK_RAW),
                attempt(socket.AF_VSOCK, socket.SOCK_STREAM), attempt(socket.AF_INET, socket.SOCK_STREAM))
            s = socket.socket()
            for what in (lambda: s.setsockopt(6, 31, b"tls"), lambda: s.bind(("127.0.0.1", 0)) or s.listen(),
                lambda: socket.create_connection(("127.0.0.1", 3129), 2), lambda: socket.create_connection(("1.1.1.1", 443), 2)):
                try: what(); print("done")
                except OSError as e: print("refused")
            """
        var run = SandboxRun(command: ["python3", "-c", script])
        run.network = .hosts(ground.hosts)

        let outcome = try await ground.sandbox.run(run) { _, _ in }

        let refused = Array(repeating: "refused", count: 7).joined(separator: " ")
        let lines = outcome.text.split(separator: "\n").map(String.init)
        #expect(lines.first == refused + " made", "\(outcome.text)")
        #expect(lines.count == 5 && lines[1] == "refused" && lines[4] == "refused", "\(outcome.text)")
        #expect(lines[3] == "refused", "\(outcome.text)")
    }
}
