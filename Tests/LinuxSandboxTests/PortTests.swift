import Foundation
import LinuxSandbox
import Pipeline
import PipelineTesting
import Testing

/// Servers in sandboxes are reached on the ports they were granted, and reach nothing themselves.
@Suite("Ports of a session's processes", .serialized)
struct PortTests {
    /// A session in a folder of its own.
    private struct Ground {
        let session: WorkspaceSession
        let folders: Folders

        init(_ builder: Builder, network: SandboxNetwork = .none) throws {
            folders = Folders(builder)
            var base = SandboxRun(command: [], network: network)
            base.workspace = try folders.make()
            base.limits.wallClock = .seconds(120)
            session = WorkspaceSession(try builder.sandbox, base: base)
        }

        func start(_ command: [String], ports: [UInt16]) async throws -> Int {
            var asked = SessionCommand(command)
            asked.ports = ports
            return try await session.start(asked)
        }

        func get(_ path: String, from id: Int, port: UInt16) async throws -> String {
            let connection = try await session.connect(to: id, port: port, patience: .seconds(30))
            let request = Array("GET \(path) HTTP/1.0\r\n\r\n".utf8)
            return String(decoding: SessionConformance.exchange(request, over: connection), as: UTF8.self)
        }

        func end() async {
            await session.close()
            folders.remove()
        }
    }

    @Test("a web server answers 200 connections, one after another and at once", arguments: Builder.here)
    func servesMany(builder: Builder) async throws {
        let ground = try Ground(builder)
        try await ground.session.write("page", Array("from inside".utf8))
        let id = try await ground.start(["python3", "-m", "http.server", "8000"], ports: [8_000])
        let first = try await ground.get("/page", from: id, port: 8_000)

        var answered = 0
        for _ in 0..<8 {
            answered += try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<25 {
                    group.addTask {
                        try await ground.get("/page", from: id, port: 8_000).hasSuffix("from inside")
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
        }

        #expect(first.hasPrefix("HTTP/1.0 200 OK\r\n") && first.hasSuffix("from inside"), "\(first)")
        #expect(answered == 200)
        await ground.end()
    }

    @Test(
        "a long connection lives beside others, and ends when the process is killed",
        arguments: Builder.here
    )
    func longConnection(builder: Builder) async throws {
        let ground = try Ground(builder)
        let script = """
            import socket, threading
            server = socket.create_server(("", 9000))
            def echo(connection):
                while piece := connection.recv(4096): connection.sendall(piece)
            while True: threading.Thread(target=echo, args=(server.accept()[0],)).start()
            """
        let id = try await ground.start(["python3", "-c", script], ports: [9_000])
        let long = try await ground.session.connect(to: id, port: 9_000, patience: .seconds(30))
        _ = fcntl(long.descriptor, F_SETFL, fcntl(long.descriptor, F_GETFL) & ~O_NONBLOCK)
        var piece = [UInt8](repeating: 0, count: 16)
        for number in 0..<50 {
            #expect(send(long.descriptor, "frame \(number)", 8, Int32(MSG_NOSIGNAL)) == 8)
            #expect(recv(long.descriptor, &piece, piece.count, 0) == 8)
            let other = try await ground.session.connect(to: id, port: 9_000, patience: .seconds(5))
            #expect(SessionConformance.exchange(Array("other".utf8), over: other) == Array("other".utf8))
        }

        try await ground.session.signal(9, to: id)
        _ = try await ground.session.wait(for: id)

        #expect(recv(long.descriptor, &piece, piece.count, 0) <= 0)
        await ground.end()
    }

    @Test("a door and ports go together", arguments: Builder.here)
    func besideTheDoor(builder: Builder) async throws {
        let ground = try Ground(builder, network: .hosts(SandboxHosts(allowed: [], label: "ports")))
        let script = """
            import socket, urllib.request
            server = socket.create_server(("127.0.0.1", 8080))
            connection = server.accept()[0]
            try: urllib.request.urlopen("http://other.test/")
            except Exception as error: connection.sendall(str(error).encode())
            """
        let id = try await ground.start(["python3", "-c", script], ports: [8_080])

        let connection = try await ground.session.connect(to: id, port: 8_080, patience: .seconds(30))
        let said = String(decoding: SessionConformance.exchange([], over: connection), as: UTF8.self)

        #expect(said.contains("403"), "the proxy answers as well: \(said)")
        await ground.end()
    }

    static let wrongPorts: [(ports: [UInt16], network: SandboxNetwork)] = [
        ([80], .none), ([0], .none), ([8_000, 8_000], .none), (Array(2_000...2_016), .none),
        ([3_128], .hosts(SandboxHosts(allowed: [], label: "ports"))),
    ]

    @Test("ports that can not be granted are refused before anything runs", arguments: wrongPorts.indices)
    func refusesPorts(index: Int) async throws {
        var run = SandboxRun(command: ["true"], network: Self.wrongPorts[index].network)
        run.ports = Self.wrongPorts[index].ports

        let error = await #expect(throws: SandboxError.self) {
            try await Builder.here[0].sandbox.run(run) { _, _ in }
        }

        #expect(error?.kind == .invalid)
    }

    @Test("networks of ended runs are given back", arguments: Builder.here)
    func leavesNothing(builder: Builder) async throws {
        let sandbox = try LinuxSandbox(builder.settings)
        let mark = "\(UInt32.random(in: 1_000_000...9_999_999))"
        var counts: [Int] = []
        for round in 0..<20 {
            var run = SandboxRun(command: ["sh", "-c", "echo up; read line; exit 0", mark])
            run.ports = [8_000]
            let control = SandboxControl()
            async let ended = sandbox.run(run, control: control) { _, _ in }
            _ = try? await control.connect(to: 8_000, patience: .milliseconds(100))
            _ = try await ended
            // The next one shows what this one left.
            var looker = SandboxRun(command: ["sleep", "60.\(mark)"])
            looker.limits.wallClock = .seconds(8)
            guard round % 10 == 9 else { continue }
            let end = SandboxControl()
            async let looking = sandbox.run(looker, control: end) { _, _ in }
            var spawner: pid_t?
            for _ in 0..<100 where spawner == nil {
                try await Task.sleep(for: .milliseconds(50))
                spawner = HostProcess.spawner(of: "60.\(mark)")
            }
            let files = spawner.flatMap(HostProcess.init)?.openFiles ?? []
            counts.append(files.count { $0.hasPrefix("net:[") })
            end.signal(SIGKILL)
            _ = try await looking
        }

        // Some are kept to be used again; one for each run that was would be 20.
        #expect(counts.count == 2 && counts[0] > 0 && counts[1] < 15, "\(counts)")
    }

    // MARK: Attacks

    static let attacks = [
        Attack(
            "listen on a port that was not granted",
            .python,
            "socket.create_server(('', 8001)); breach()"
        ),
        Attack(
            "reach the host's loopback",
            .python,
            "socket.create_connection(('127.0.0.1', int(os.environ['BAIT_PORT'])), 2); breach()"
        ),
        Attack(
            "connect to a port of one's own that was not granted",
            .python,
            """
            s = socket.socket(); s.listen()
            socket.create_connection(('127.0.0.1', s.getsockname()[1]), 2); breach()
            """
        ),
        Attack(
            "open a datagram socket",
            .python,
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM); breach()"
        ),
        Attack("open a netlink socket", .python, "socket.socket(16, 3, 0); breach()"),
        Attack("open a raw socket", .python, "socket.socket(2, 3, 1); breach()"),
    ]

    @Test(
        "with ports and without a sandbox it succeeds",
        .enabled(if: geteuid() == 0, "NOT CHECKED: only root can do without a sandbox what these attempt"),
        arguments: attacks
    )
    func succeedsOutside(attack: Attack) throws {
        let bait = try Bait()

        let said = try Outside.run(attack.command, environment: bait.environment, in: bait.folder)

        #expect(said.contains("BREACH"), "\(said)")
    }

    @Test("with ports and inside it fails", arguments: attacks, Builder.here)
    func failsInside(attack: Attack, builder: Builder) async throws {
        let bait = try Bait()
        var run = SandboxRun(command: attack.command, environment: bait.environment)
        run.ports = [8_000]

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        #expect(!outcome.text.contains("BREACH"), "\(outcome.ending) \(outcome.text)")
        #expect(outcome.ending != .limit(.wallClock), "\(outcome.text)")
    }

    @Test("two with the same port do not reach each other", arguments: Builder.here)
    func apart(builder: Builder) async throws {
        let ground = try Ground(builder)
        let id = try await ground.start(["python3", "-m", "http.server", "8000"], ports: [8_000])
        _ = try await ground.get("/", from: id, port: 8_000)
        let script = "import socket; socket.create_connection(('127.0.0.1', 8000), 2); print('BREACH')"

        let other = try await ground.start(["python3", "-c", script], ports: [8_000])
        let outcome = try await ground.session.wait(for: other)

        #expect(outcome.ending == .exited(1) && outcome.text.contains("refused"), "\(outcome.text)")
        await ground.end()
    }
}
