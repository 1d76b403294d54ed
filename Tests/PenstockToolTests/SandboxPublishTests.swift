import Foundation
import Testing

/// Ports of the host that lead to commands in sandboxes, as a client outside meets them.
@Suite("penstock sandbox exec --publish", .serialized)
struct SandboxPublishTests {
    @Test("100 connections in a row are answered", arguments: PublishedServer.Place.allCases)
    func inARow(place: PublishedServer.Place) throws {
        let ground = try SessionGround()
        _ = try ground.run("exec", ["--", "bash", "-c", "echo from inside >page"])
        let server = try PublishedServer(place, ground, ["python3", "-m", "http.server", "8000"])
        let script = """
            for _ in range(int(sys.argv[2])):
                with connect() as connection:
                    connection.sendall(b"GET /page HTTP/1.0\\r\\n\\r\\n")
                    print(rest(connection).split(b"\\r\\n\\r\\n")[1].decode(), end="")
            """

        let first = try server.ask(script, ["1"])
        let before = try server.descriptors
        let lines = try server.ask(script, ["100"]).split(separator: "\n")

        #expect(first == "from inside")
        #expect(lines.count == 100 && Set(lines) == ["from inside"], "\(Set(lines))")
        // The last may still be on its way out.
        var after = Int.max
        for _ in 0..<600 where after > before {
            after = try server.descriptors
            if after > before { usleep(10_000) }
        }
        #expect(after <= before)
    }

    @Test("50 at once carry 1 MiB each way, and their ends", arguments: PublishedServer.Place.allCases)
    func atOnce(place: PublishedServer.Place) throws {
        let ground = try SessionGround()
        let server = try PublishedServer(place, ground, ["python3", "-c", PublishedServer.backwards])

        let good = try server.ask(
            """
            good = []
            def one():
                sent = os.urandom(1 << 20)
                said = hashlib.sha256(exchange(sent)).digest()
                if said == hashlib.sha256(sent[::-1]).digest(): good.append(said)
            threads = [threading.Thread(target=one) for _ in range(50)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(len(set(good)))
            """
        )

        #expect(good == "50")
    }

    @Test("the listener goes with the command", arguments: PublishedServer.Place.allCases)
    func goesWithTheCommand(place: PublishedServer.Place) throws {
        let ground = try SessionGround()
        let server = try PublishedServer(place, ground, ["python3", "-c", PublishedServer.backwards])
        let script = """
            try: print(exchange(b"abc").decode())
            except ConnectionRefusedError: print("refused")
            """
        let listed = try ground.run("ps", []).text
        let detail = try ground.run("ps", ["--json"]).text

        #expect(try server.ask(script) == "cba")
        let status = try server.stop()

        #expect(try server.ask(script) == "refused")
        if place == .front {
            #expect(status == 128 + SIGTERM && listed.isEmpty, "\(listed)")
        } else {
            #expect(listed.contains("running  \(server.port):8000  python3"), "\(listed)")
            #expect(detail.contains(#""ports":[{"host":\#(server.port),"inside":8000}]"#), "\(detail)")
            #expect(try ground.run("ps", ["--json"]).text.contains(#""ports":[]"#))
        }
    }

    @Test("what a command says before it ends reaches the client")
    func drains() throws {
        let script = """
            import socket
            server = socket.create_server(("127.0.0.1", 8000))
            with server.accept()[0] as connection: connection.sendall(b"x" * (8 << 20))
            raise SystemExit(7)
            """
        let server = try PublishedServer(.front, try SessionGround(), ["python3", "-c", script])

        #expect(try server.ask("print(len(exchange(b'')))") == "\(8 << 20)")
        #expect(server.wait() == 7)
    }

    /// Listens once there is a file `go`.
    private func lateServer(_ ground: SessionGround) throws -> PublishedServer {
        let command = ["bash", "-c", "until test -e go; do sleep 0.05; done; exec python3 -c \"$0\""]
        return try PublishedServer(.background, ground, command + [PublishedServer.backwards])
    }

    @Test("a connection waits for the command to listen")
    func waits() throws {
        let ground = try SessionGround()
        let server = try lateServer(ground)

        let said = try server.ask(
            """
            with connect() as connection:
                connection.sendall(b"abc")
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(0.5)
                try: print(rest(connection))
                except TimeoutError: print("nothing yet", end=" ")
                connection.settimeout(60)
                open(sys.argv[2] + "/go", "w").close()
                print(rest(connection).decode())
            """,
            [ground.work]
        )

        #expect(said == "nothing yet cba")
    }

    @Test("a connection that nothing answers is aborted, and the next is served")
    func aborts() throws {
        let ground = try SessionGround()
        let server = try lateServer(ground)

        let said = try server.ask(
            """
            try: print(rest(connect()))
            except ConnectionResetError: print("reset", end=" ")
            open(sys.argv[2] + "/go", "w").close()
            print(exchange(b"abc").decode())
            """,
            [ground.work]
        )

        #expect(said == "reset cba")
    }

    @Test("an abort passes to the other side, and disturbs no other connection")
    func abortsPass() throws {
        let script = """
            import socket, struct
            server = socket.create_server(("127.0.0.1", 8000))
            resets = 0
            while True:
                with server.accept()[0] as connection:
                    word = connection.recv(3)
                    # Until the client's abort comes.
                    try:
                        while word == b"end" and connection.recv(65536): pass
                    except ConnectionResetError: resets += 1
                    if word == b"say": connection.sendall(b"%d" % resets)
                    if word == b"cut":
                        connection.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            """
        let server = try PublishedServer(.front, try SessionGround(), ["python3", "-c", script])

        let said = try server.ask(
            """
            for _ in range(20):
                with connect() as connection:
                    connection.sendall(b"end" + b"x" * 100000)
                    connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # One dial may be overtaken by another.
            for _ in range(600):
                said = exchange(b"say")
                if said == b"20": break
            print(said.decode(), end=" ")
            try:
                with connect() as connection:
                    connection.sendall(b"cut")
                    print(rest(connection))
            except ConnectionResetError: print("reset")
            """
        )

        #expect(said == "20 reset")
    }

    @Test("an answer arrives that came before all of the request was read")
    func earlyAnswer() throws {
        let script = """
            import socket
            server = socket.create_server(("127.0.0.1", 8000), backlog=64)
            while True:
                with server.accept()[0] as connection:
                    connection.recv(10)
                    connection.sendall(b"too large")
            """
        let server = try PublishedServer(.front, try SessionGround(), ["python3", "-c", script])

        let said = try server.ask(
            """
            with connect() as connection:
                try: connection.sendall(b"x" * (64 << 20))
                except OSError: pass
                print(connection.recv(100).decode())
            """
        )

        #expect(said == "too large")
    }

    @Test("a slow reader holds the command up, and fills no memory")
    func slowReader() throws {
        let script = """
            import socket
            server = socket.create_server(("127.0.0.1", 8000))
            while True:
                with server.accept()[0] as connection:
                    try:
                        for _ in range(64): connection.sendall(b"x" * (1 << 20))
                    except OSError: pass
            """
        let server = try PublishedServer(.front, try SessionGround(), ["python3", "-c", script])
        _ = try server.ask("connect().recv(1)")
        let before = try server.memoryMiB("VmHWM")

        let said = try server.ask(
            """
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            connection.connect(("127.0.0.1", int(sys.argv[1])))
            print(sum(map(len, iter(lambda: connection.recv(8192), b""))))
            """
        )

        #expect(said == "\(64 << 20)")
        #expect(try server.memoryMiB("VmHWM") < before + 32)
    }

    @Test("a port in use is an error, and nothing is started", arguments: PublishedServer.Place.allCases)
    func inUse(place: PublishedServer.Place) throws {
        let ground = try SessionGround()
        let server = try PublishedServer(.background, ground, ["python3", "-c", PublishedServer.backwards])
        let options = (place == .front ? [] : ["--detach"]) + ["--publish", "\(server.port):8000"]

        let second = try ground.run("exec", options + ["--", "touch", "begun"])

        #expect(second.status == 1 && second.text.contains("Address already in use"), "\(second.text)")
        #expect(second.text.contains("\(server.port):8000") && !second.text.contains("leads to"))
        #expect(!FileManager.default.fileExists(atPath: ground.work + "/begun"))
        #expect(try ground.run("ps", ["--json"]).text.split(separator: "\n").count == 1)
        #expect(try server.ask("print(exchange(b'abc').decode())") == "cba")
    }

    static let badValues = [
        "x", "", "70000", "80", "8000,", "8000,8000", "1:8000,2:8000", "9000:8000,9000:8001", "1:2:3000",
        "127.0.0.1:8000:8000", "8000:", "-1:8000",
        (2_000...2_016).map { "\($0)" }.joined(separator: ","),
    ]

    @Test("a value that is no list of ports is wrong use", arguments: badValues)
    func badValue(value: String) throws {
        let ground = try SessionGround()

        for options in [[], ["--detach"]] {
            let result = try ground.run("exec", options + ["--publish=\(value)", "--", "touch", "begun"])

            #expect(result.status == 2, "\(result.text)")
            #expect(result.text.contains("--publish \(value): expected up to 16 of [HOST:]PORT"))
        }
        #expect(!FileManager.default.fileExists(atPath: ground.work))
    }

    @Test("beside a network the proxy's port is wrong use, and any other goes")
    func besideANetwork() throws {
        let ground = try SessionGround()
        let words = ["--net", "api.example.com", "--", "true"]

        let proxy = try ground.run("exec", ["--publish", "0:3128"] + words)
        let other = try ground.run("exec", ["--publish", "0:3129"] + words)

        #expect(proxy.status == 2 && proxy.text.contains("another port than 3128"), "\(proxy.text)")
        #expect(other.status == 0, "\(other.text)")
    }

    @Test("several ports lead each to its own, from 127.0.0.1 alone, and with sandbox run as well")
    func severalPorts() throws {
        let ground = try SessionGround()
        let script = """
            import socket, sys
            servers = [socket.create_server(("127.0.0.1", port)) for port in (8000, 8001)]
            for server, word in zip(servers, (b"first", b"second")):
                with server.accept()[0] as connection: connection.sendall(word)
            """
        let several = try ground.run(
            "exec",
            ["--detach", "--publish", "0:8000,0:8001", "--", "python3", "-c", script]
        )
        let ports = several.text.matches(of: /127\.0\.0\.1:(\d+) leads to port (800\d)/).map { "\($0.1)" }
        try #require(ports.count == 2, "\(several.text)")
        let alone = try PublishedServer(
            .front,
            ground,
            verb: "run",
            ["python3", "-c", PublishedServer.backwards]
        )

        let said = try alone.ask(
            """
            print(exchange(b"abc").decode())
            try: print(connect("127.0.0.2"))
            except ConnectionRefusedError: print("refused")
            for port in sys.argv[2:]:
                print(rest(socket.create_connection(("127.0.0.1", int(port)))).decode())
            """,
            ports
        )

        #expect(said.split(separator: "\n") == ["cba", "refused", "first", "second"], "\(said)")
        try ground.await("1", "exited 0")
    }

    @Test("without it a command can not listen")
    func withoutIt() throws {
        let ground = try SessionGround()
        let command = [
            "python3", "-c", "import socket; socket.create_server(('127.0.0.1', 8000)); print('up')",
        ]

        let without = try ground.run("exec", ["--"] + command)
        let with = try ground.run("exec", ["--publish", "0:8000", "--"] + command)

        #expect(without.status == 1 && without.text.contains("Error") && !without.text.contains("up\n"))
        #expect(with.status == 0 && with.text.hasSuffix("up\n"), "\(with.text)")
    }
}
