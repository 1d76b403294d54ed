import Foundation
import LinuxSandbox
import Pipeline
import Synchronization
import Testing

/// A secret that is written into TLS: by real programs, to real servers.
@Suite("Secrets over TLS", .serialized)
struct InterceptionTests {
    /// One test's ground. `api.test`, `wrong.test` and `b.api.test` lead to a server that has a certificate
    /// for `api.test` and below; `plain.test` to one that speaks no TLS.
    private struct Ground {
        let port: UInt16
        let plainPort: UInt16
        let hosts: SandboxHosts
        let sandbox: LinuxSandbox
        private static let log = Mutex<[SandboxConnection]>([])

        init(_ builder: Builder) throws {
            port = try WebServer.overTLS.get().port
            plainPort = try WebServer.plain.get().port
            sandbox = try #require(Self.sandboxes[builder]).get()
            let names = [
                "api.test:\(port)", "b.api.test:\(port)", "wrong.test:\(port)", "other.test:\(port)",
                "plain.test:\(plainPort)",
            ]
            let label = "test-\(UInt64.random(in: 0 ... .max))"
            var hosts = SandboxHosts(allowed: names.compactMap(HostRule.init), label: label)
            hosts.privateNetworks = [try #require(AddressRange("127.0.0.0/8"))]
            func secret(_ name: String, _ value: String, _ at: [String], _ intercepts: Bool) -> SandboxSecret
            {
                let rules = at.compactMap(HostRule.init)
                return SandboxSecret(name: name, value: value, hosts: rules, interceptsTLS: intercepts)
            }
            hosts.secrets = [
                secret("API_KEY", "very-secret-value", [names[0], names[2], names[4]], true),
                secret("OTHER_KEY", "other-value", [names[3]], true),
                secret("PLAIN_KEY", "plain-value", [names[0]], false),
            ]
            self.hosts = hosts
        }

        /// One sandbox for each builder serves every test.
        private static let sandboxes = Dictionary(
            uniqueKeysWithValues: Builder.here.map { builder in
                (builder, Result { try make(builder) })
            }
        )

        private static func make(_ builder: Builder) throws -> LinuxSandbox {
            var settings = builder.settings
            settings.trustedCertificates = try WebServer.overTLS.get().certificate
            settings.resolve = { name in
                name.hasSuffix(".test") ? [NetworkAddress("127.0.0.1")].compactMap { $0 } : []
            }
            settings.audit = { record in log.withLock { $0.append(record) } }
            return try LinuxSandbox(settings)
        }

        var records: [SandboxConnection] {
            Self.log.withLock { $0.filter { $0.label == hosts.label } }
        }

        func run(_ command: [String]) async throws -> SandboxOutcome {
            func filled(_ text: String) -> String {
                text.replacing("PLAIN_PORT", with: "\(plainPort)").replacing("PORT", with: "\(port)")
            }
            var run = SandboxRun(command: command.map(filled))
            run.limits.wallClock = .seconds(25)
            run.network = .hosts(hosts)
            return try await sandbox.run(run) { _, _ in }
        }

        func bash(_ script: String) async throws -> String { try await run(["bash", "-c", script]).text }

        func python(_ script: String) async throws -> String {
            try await run(["python3", "-c", InterceptionTests.prelude + script]).text
        }
    }

    /// For python: a tunnel by hand, with what it says back and why it ended.
    private static let prelude = """
        import os, socket, ssl, sys, time
        def opened(host="api.test", port=PORT):
            s = socket.create_connection(("127.0.0.1", 3128))
            s.sendall(b"CONNECT %s:%d HTTP/1.1\\r\\n\\r\\n" % (host.encode(), port))
            print(s.recv(4096).split(b"\\r\\n")[0].decode())
            return s
        def tunnel(host="api.test", port=PORT, name=None, alpn=None, trust=None):
            context = ssl.create_default_context(cafile=trust)
            if alpn: context.set_alpn_protocols(alpn)
            return context.wrap_socket(opened(host, port), server_hostname=name or host)
        def say(text, **options):
            try:
                t = tunnel(**options)
                t.sendall(text.replace("\\n", "\\r\\n").encode())
                while data := t.recv(65536): print(data.decode())
            except OSError as error: print("ERROR", error)

        """

    private static let programs: [(name: String, script: String)] = [
        ("curl", "curl -sS -H \"A: $API_KEY\" \"https://api.test:PORT/curl?k=$API_KEY\""),
        (
            "curl with a body",
            "head -c 200000 /dev/zero | curl -sS -H \"A: $API_KEY\" --data-binary @- https://api.test:PORT/ | tr -d '\\0'"
        ),
        (
            "urllib",
            "python3 -c 'import os, urllib.request as u; r = u.Request(\"https://api.test:PORT/\", headers={\"A\": os.environ[\"API_KEY\"]}); print(u.urlopen(r).read().decode())'"
        ),
        (
            "http.client",
            "python3 -c 'import os, http.client as h; c = h.HTTPSConnection(\"127.0.0.1\", 3128); c.set_tunnel(\"api.test\", PORT); c.request(\"POST\", \"/\", \"body\", {\"A\": os.environ[\"API_KEY\"]}); print(c.getresponse().read().decode())'"
        ),
        (
            "node",
            """
            node -e '
            const http = require("http"), https = require("https");
            http.request({ host: "127.0.0.1", port: 3128, method: "CONNECT", path: "api.test:PORT" })
                .on("connect", (answer, socket) => https.get({ host: "api.test", port: PORT, path: "/", socket,
                    agent: false, headers: { A: process.env.API_KEY } },
                    got => got.pipe(process.stdout))).end()'
            """
        ),
    ]

    @Test("real programs send it, and it arrives", arguments: programs.map(\.name), Builder.here)
    func arrives(name: String, builder: Builder) async throws {
        let program = try #require(Self.programs.first { $0.name == name })
        guard name != "node" || access("/usr/bin/node", X_OK) == 0 else {
            print("NOT CHECKED: Node over TLS: there is no /usr/bin/node")
            return
        }
        let ground = try Ground(builder)

        let text = try await ground.bash(program.script)

        // The server says back what it got.
        #expect(text.contains("A: very-secret-value\n"), "\(text)")
        #expect(text.contains("Connection: close\n") && !text.contains("stays-outside"), "\(text)")
        let record = try #require(ground.records.first)
        #expect(ground.records.count == 1 && record.isAllowed && record.isIntercepted)
        #expect(record.status == 200 && record.sentBytes > 50 && record.receivedBytes > 100)
        #expect(record.reason == nil, "\(record.reason ?? "")")
    }

    @Test("git goes through", arguments: Builder.here)
    func git(builder: Builder) async throws {
        let ground = try Ground(builder)

        let text = try await ground.bash(
            "git -c http.extraHeader=\"A: $API_KEY\" ls-remote https://api.test:PORT/git"
        )

        #expect(!text.contains("certificate") && !text.contains("SSL"), "\(text)")
        #expect(ground.records.first?.status == 200 && ground.records.first?.isIntercepted == true)
    }

    @Test("inside are a placeholder, and certificates that can only be read", arguments: Builder.here)
    func staysOutside(builder: Builder) async throws {
        let ground = try Ground(builder)
        let script = """
            env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'
            grep -rl 'very-secret' /work /tmp /etc /dev/shm
            grep -l PRIVATE $SSL_CERT_FILE; grep -c BEGIN $SSL_CERT_FILE; ls -A /etc/ssl/penstock
            for way in 'echo x >>$SSL_CERT_FILE' 'rm -f $SSL_CERT_FILE' 'chmod 666 $SSL_CERT_FILE' \
                'mv /etc/ssl/penstock /etc/ssl/p' 'touch /etc/ssl/penstock/x'; do
                eval "$way" 2>/dev/null && echo CHAN""GED; done; true
            """

        let text = try await ground.bash(script)

        #expect(text.contains("API_KEY=penstock-secret-API_KEY-stays-outside"), "\(text)")
        #expect(!text.contains("very-secret-value") && !text.contains("CHANGED"), "\(text)")
        #expect(text.hasSuffix("\ncertificates.pem\n"), "\(text)")
    }

    @Test("the host's certificate must be its own, and the host must speak TLS", arguments: Builder.here)
    func refusesHosts(builder: Builder) async throws {
        let ground = try Ground(builder)

        let wrong = try await ground.bash("curl -sS -H \"A: $API_KEY\" https://wrong.test:PORT/")
        let plain = try await ground.bash("curl -sS -H \"A: $API_KEY\" https://plain.test:PLAIN_PORT/")

        #expect(
            wrong.contains("wrong.test:\(ground.port): the certificate is refused: hostname mismatch"),
            "\(wrong)"
        )
        #expect(plain.contains("penstock: plain.test:\(ground.plainPort): "), "\(plain)")
        #expect(!(wrong + plain).contains("very-secret-value"))
        let records = ground.records
        #expect(records.map(\.isAllowed) == [false, false] && records.map(\.sentBytes) == [0, 0])
        #expect(records.first?.reason?.contains("hostname mismatch") == true)
    }

    @Test("without the operator's file the host is not trusted")
    func refusesStrangers() async throws {
        let ground = try Ground(Builder.here[0])
        var settings = Builder.here[0].settings
        settings.resolve = { _ in [NetworkAddress("127.0.0.1")].compactMap { $0 } }
        let sandbox = try LinuxSandbox(settings)
        var run = SandboxRun(command: ["curl", "-sS", "https://api.test:\(ground.port)/"])
        run.network = .hosts(ground.hosts)

        let outcome = try await sandbox.run(run) { _, _ in }

        #expect(
            outcome.text.contains("the certificate is refused: self-signed certificate"),
            "\(outcome.text)"
        )
        settings.trustedCertificates = "/nowhere"
        #expect(throws: SandboxError.self) { try LinuxSandbox(settings) }
    }

    @Test(
        "another host keeps its own certificate, and each run has its own authority",
        arguments: Builder.here
    )
    func leavesOthers(builder: Builder) async throws {
        let ground = try Ground(builder)
        let script = """
            for host in api.test b.api.test; do
                openssl s_client -proxy 127.0.0.1:3128 -connect $host:PORT -servername $host \
                    </dev/null 2>/dev/null |
                    openssl x509 -noout -issuer; done
            openssl x509 -in $SSL_CERT_FILE -noout -subject -fingerprint
            """

        let first = try await ground.bash(script).split(separator: "\n").map(String.init)
        let second = try await ground.bash(script).split(separator: "\n").map(String.init)

        try #require(first.count == 4 && second.count == 4, "\(first) \(second)")
        #expect(first[0] == "issuer=CN = Penstock sandbox authority" && first[1] == "issuer=CN = api.test")
        #expect(first[2] == "subject=CN = Penstock sandbox authority" && first[2] == second[2])
        #expect(first[3].contains("Fingerprint=") && first[3] != second[3])
    }

    private static let request = "GET /one HTTP/1.1\\nHost: api.test:PORT\\n"
    private static let hostile: [(name: String, script: String, says: String, reason: String?)] = [
        (
            "another host by the Host field",
            "say('GET / HTTP/1.1\\nHost: other.test:PORT\\nA: '+os.environ['OTHER_KEY']+'\\n\\n')",
            "400 Bad Request", "another host"
        ),
        ("no Host field", "say('GET / HTTP/1.1\\n\\n')", "400 Bad Request", "another host"),
        ("two Host fields", "say('\(request)Host: other.test\\n\\n')", "400 Bad Request", "another host"),
        (
            "a whole address for a path",
            "say('GET https://other.test/ HTTP/1.1\\nHost: api.test:PORT\\n\\n')", "400 Bad Request",
            "must be a path"
        ),
        (
            "CONNECT within", "say('CONNECT other.test:443 HTTP/1.1\\nHost: api.test:PORT\\n\\n')",
            "400 Bad Request", "must be a path"
        ),
        (
            "another host's secret", "say('\(request)A: '+os.environ['OTHER_KEY']+'\\n\\n')",
            "OTHER_KEY is not for api.test", "is not for"
        ),
        (
            "a secret that is not for TLS", "say('\(request)A: '+os.environ['PLAIN_KEY']+'\\n\\n')",
            "goes over plain http only", "plain http"
        ),
        (
            "the preface of HTTP/2", "say('PRI * HTTP/2.0\\n\\nSM\\n\\n')", "400 Bad Request",
            "no request line"
        ),
        ("HTTP/2 alone by ALPN", "say('', alpn=['h2'])", "ERROR", "no application protocol"),
        (
            "a second request behind the first",
            "say('\(request)\\nGET /two HTTP/1.1\\nHost: other.test\\n\\n')", "GET /one", nil
        ),
        (
            "two lengths", "say('\(request)Content-Length: 1\\nTransfer-Encoding: chunked\\n\\n0\\n\\n')",
            "400 Bad Request", "two ways"
        ),
        (
            "a line feed alone",
            "t = tunnel(); t.sendall(b'GET / HTTP/1.1\\r\\nHost: api.test:PORT\\r\\nA: b\\nX: y\\r\\n\\r\\n'); print(t.recv(4096))",
            "400 Bad Request", "control characters"
        ),
        ("a head without end", "say('GET / HTTP/1.1\\nA: ' + 'x' * 40000)", "400 Bad Request", "too long"),
        (
            "a client that does not trust the run's authority",
            "say('', trust='/dev/null') if False else None; c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\ntry: c.wrap_socket(opened(), server_hostname='api.test')\nexcept OSError as e: print(e)",
            "CERTIFICATE_VERIFY_FAILED", "unknown ca"
        ),
        ("another name in the hello", "say('', name='other.test')", "ERROR", "asks for other.test"),
        (
            "no TLS at all",
            "s = opened(); s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); print(s.recv(100) if False else 'sent'); time.sleep(.2)",
            "sent", "does not speak TLS"
        ),
        (
            "a broken record",
            "t = tunnel(); s = socket.socket(fileno=os.dup(t.fileno())); s.sendall(b'\\x17\\x03\\x03\\x00\\x20' + b'x' * 32); print('sent')\ntry: print(t.recv(10))\nexcept OSError as e: print(e)",
            "sent", "bad record mac"
        ),
        (
            "a head cut short",
            "t = tunnel(); t.sendall(b'GET /'); os.close(t.detach()); print('sent'); time.sleep(.3)", "sent",
            "before the head"
        ),
        (
            "a head that is ended short",
            "t = tunnel(); t.sendall(b'GET /'); t.settimeout(1)\ntry: t.unwrap()\nexcept OSError as e: pass\nprint('sent')",
            "sent", "before the head"
        ),
        (
            "a body cut short",
            "t = tunnel(); t.sendall(b'POST / HTTP/1.1\\r\\nHost: api.test:PORT\\r\\nContent-Length: 9\\r\\n\\r\\nx'); time.sleep(.3); os.close(t.detach()); print('sent'); time.sleep(.3)",
            "sent", "before its body"
        ),
        (
            "a TLS that is too old",
            "c = ssl.create_default_context(); c.minimum_version = ssl.TLSVersion.TLSv1; c.maximum_version = ssl.TLSVersion.TLSv1_1; c.set_ciphers('ALL:@SECLEVEL=0')\ntry: c.wrap_socket(opened(), server_hostname='api.test')\nexcept OSError as e: print('ERROR', e)",
            "ERROR", "unsupported protocol"
        ),
    ]

    @Test("what is hostile or broken has a clean end", arguments: hostile.map(\.name), [Builder.here[0]])
    func endsCleanly(name: String, builder: Builder) async throws {
        let ground = try Ground(builder)
        let attempt = try #require(Self.hostile.first { $0.name == name })

        let text = try await ground.python(attempt.script)

        let reason = ground.records.first?.reason
        #expect(text.hasPrefix("HTTP/1.1 200 "), "\(text)")
        #expect(text.contains(attempt.says), "\(text) \(reason ?? "")")
        #expect(!text.contains("-value") && !text.contains("/two"), "\(text)")
        #expect(ground.records.count == 1)
        if let expected = attempt.reason {
            #expect(reason?.contains(expected) == true, "\(reason ?? "none") \(text)")
        } else {
            #expect(reason == nil, "\(reason ?? "")")
        }
    }

    @Test("a secret that is for TLS goes over no plain request")
    func refusesPlain() async throws {
        let ground = try Ground(Builder.here[0])

        let text = try await ground.bash("curl -sS -H \"A: $API_KEY\" http://plain.test:PLAIN_PORT/")

        #expect(text.contains("the secret API_KEY goes over https only"), "\(text)")
    }

    @Test("half a handshake ends in time")
    func endsHalfHandshakes() async throws {
        let ground = try Ground(Builder.here[0])
        let script = """
            s = opened()
            c = ssl.create_default_context()
            there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
            o = c.wrap_bio(back, there, server_hostname="api.test")
            try: o.do_handshake()
            except ssl.SSLWantReadError: s.sendall(there.read())
            try:
                while s.recv(65536): pass
            except OSError: pass
            print("ended")
            """

        let text = try await ground.python(script)

        #expect(text.hasSuffix("ended\n"), "\(text)")
        #expect(ground.records.first?.reason == "not begun within 15 s")
    }
}
