import CLinux
import Dispatch
import Glibc
import JSON
import Pipeline

/// `penstock sandbox exec`, `ps`, `logs`, `kill`: commands that share a folder, in front and in the
/// background.
enum SandboxSessionCommands {
    /// POSIX_SPAWN_SETSID, which Swift's Glibc leaves out.
    private static let setSession: Int16 = 0x80

    static let exec = Command(
        name: "exec",
        summary: "runs a command on a session's files",
        operands: "[--] CMD…",
        operandCount: 1...4096,
        discussion: """
            A session is a folder that its commands share as /work, below the data folder of the settings;
            the first command makes it. Each command has a sandbox of its own, as with sandbox run. HUP,
            INT, QUIT, TERM, USR1 and USR2 go to the command.

            With --publish the command may listen on ports of a loopback of its own, and as long as it runs
            ports of the host's 127.0.0.1 lead there. A connection waits 10 s for the command to listen.

            With --detach it runs in the background, and its number is printed. It has no time limit then but
            that of --timeout.
            """,
        examples: [
            ("penstock sandbox exec --session try -- git init", "in front"),
            ("penstock sandbox exec --session try --detach -- python3 long.py", "in the background"),
            (
                "penstock sandbox exec --detach --publish 18000:8000 -- python3 -m http.server 8000",
                "reached at 127.0.0.1:18000"
            ),
        ],
        options: [
            .value("session", "NAME", "a-z, 0-9 and -; default by default"),
            .flag("detach", "in the background: see sandbox ps, logs and kill"),
            .value("keep", "ID", "for the program that waits for a background process"),
            .value("listeners", "NUMBERS", "for the same: its sockets for the ports of --publish"),
        ] + SandboxCommand.grants,
        takesRest: true,
        run: { invocation in try await exec(invocation) }
    )

    static let others: [Command] = [
        Command(
            name: "ps",
            summary: "background processes of the sessions",
            options: [.value("session", "NAME", "of this one only")],
            run: { invocation in try list(invocation) }
        ),
        Command(
            name: "logs",
            summary: "what a background process has said",
            operands: "ID",
            operandCount: 1...1,
            options: [.value("session", "NAME", "default by default")],
            run: { invocation in
                let process = try session(invocation).folder.process(invocation.operands[0])
                // Larger logs are read in the folder itself.
                guard let bytes = Files.read(process.log) else {
                    throw Failure("\(process.log): can not be read, or has more than 4 MiB")
                }
                Terminal.bytes(bytes)
                return 0
            }
        ),
        Command(
            name: "kill",
            summary: "sends a background process a signal",
            operands: "ID",
            operandCount: 1...1,
            options: [
                .value("session", "NAME", "default by default"),
                .value("signal", "NUMBER", "15 by default; 9 ends its whole tree"),
            ],
            run: { invocation in
                let process = try session(invocation).folder.process(invocation.operands[0])
                let signal = try invocation.integer("signal", in: 1...31, default: 15)
                guard let keeper = process.keeper, process.ending == nil else {
                    throw Failure("process \(process.id) does not run: \(process.state)")
                }
                guard Glibc.kill(keeper, Int32(signal)) == 0 else {
                    throw Failure("process \(process.id): \(String(cString: strerror(errno)))")
                }
                return 0
            }
        ),
    ]

    private static func session(_ invocation: Invocation) throws -> (
        folder: SessionFolder, settings: Settings
    ) {
        let settings = try SettingsFile.load(invocation)
        let name = invocation.value("session") ?? "default"
        return (try SessionFolder(name, data: settings.data), settings)
    }

    // MARK: Running

    private static func exec(_ invocation: Invocation) async throws -> Int32 {
        let (session, settings) = try session(invocation)
        let walls = SandboxCommand.walls(invocation, settings)
        var run = try SandboxCommand.sandboxRun(invocation)
        let asked = try PublishedPort.grant(invocation, to: &run)
        try session.make(data: settings.data)
        guard let real = realpath(session.work, nil) else { throw Failure("\(session.work) is not there") }
        run.workspace = String(cString: real)
        free(real)
        if invocation.has("detach") {
            return try detach(invocation, session, ports: try PublishedPort.open(asked))
        }
        let control = SandboxControl()
        let relay = SignalRelay(to: control)
        guard let id = invocation.value("keep") else {
            defer { relay.end() }
            let ports = try PublishedPort.open(asked)
            return try await SandboxCommand.show(run, walls, ports: ports, control: control).status
        }
        let folder = try session.process(id).folder
        if invocation.value("timeout") == nil { run.limits.wallClock = .seconds(1_000_000_000) }
        let listeners = invocation.value("listeners") ?? ""
        let ports = try PublishedPort.inherited(asked, listeners: listeners)
        let (status, ending) = try await SandboxCommand.show(run, walls, ports: ports, control: control)
        relay.end()
        _ = Files.replace("\(folder)/ending", ending)
        return status
    }

    /// Starts this program again, in a session of its own, with the log for its streams and the listeners of
    /// the ports.
    private static func detach(
        _ invocation: Invocation,
        _ session: SessionFolder,
        ports: [PublishedPort]
    ) throws -> Int32 {
        // Whoever waits for the end of what we inherited must not wait for the background.
        guard close_range(3, .max, CLOSE_RANGE_CLOEXEC) == 0 else {
            throw Failure("descriptors can not be kept from it: \(String(cString: strerror(errno)))")
        }
        for port in ports { _ = fcntl(port.listener, F_SETFD, 0) }
        let (id, folder) = try session.makeProcess(invocation.operands, ports: ports)
        var words = invocation.path + ["--keep", "\(id)"]
        words.append("--listeners=\(ports.map { "\($0.listener)" }.joined(separator: ","))")
        for (name, value) in invocation.options where name != "detach" {
            let isFlag = invocation.command.options.contains { $0.name == name && $0.value == nil }
            words += isFlag || name == "json" ? ["--\(name)"] : ["--\(name)=\(value)"]
        }
        words += ["--"] + invocation.operands
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "\(folder)/log", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        posix_spawnattr_setflags(&attributes, setSession)
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var keeper: pid_t = 0
        let error = posix_spawn(&keeper, "/proc/self/exe", &actions, &attributes, arguments, environ)
        guard error == 0, SessionFolder.note(keeper: keeper, in: folder) else {
            _ = Files.replace("\(folder)/ending", "failed: it could not be started")
            throw Failure("it could not be started: \(String(cString: strerror(error)))")
        }
        Terminal.line("\(id)")
        return 0
    }

    // MARK: Listing

    private static func list(_ invocation: Invocation) throws -> Int32 {
        let data = try SettingsFile.load(invocation).data
        let names = invocation.value("session").map { [$0] } ?? SessionFolder.all(data: data)
        var rows: [[String]] = []
        for name in names {
            for process in try SessionFolder(name, data: data).processes() {
                guard !invocation.isJSON else {
                    Terminal.json(
                        .object([
                            "session": .string(name), "id": .integer(Int64(process.id)),
                            "state": .string(process.state),
                            "ports": .array(
                                process.ports.map {
                                    .object([
                                        "host": .integer(Int64($0.host)),
                                        "inside": .integer(Int64($0.inside)),
                                    ])
                                }
                            ),
                            "command": .array(process.command.map { .string($0) }),
                        ])
                    )
                    continue
                }
                let ports = process.ports.isEmpty ? "-" : PublishedPort.text(process.ports)
                let command = process.command.joined(separator: " ")
                rows.append([name, "\(process.id)", process.state, ports, command])
            }
        }
        if !invocation.isJSON { Terminal.table(rows) }
        return 0
    }
}

/// Signals to this program, on their way to the command.
private final class SignalRelay: Sendable {
    // Kept alive; the sources only pass numbers on.
    nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

    init(to control: SandboxControl) {
        sources = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { @Sendable in control.signal(number) }
            source.resume()
            return source
        }
    }

    func end() {
        for source in sources { source.cancel() }
    }
}
