import Glibc
import LinuxSandbox
import Pipeline

/// `penstock sandbox`: gives a person the walls that a skill gets.
enum SandboxCommand {
    static let sandbox = Command(
        name: "sandbox",
        summary: "commands in the sandbox that skills run in",
        subcommands: [run, SandboxSessionCommands.exec] + SandboxSessionCommands.others
    )

    /// The sandbox could not be built; as env and timeout use it.
    private static let couldNotStart: Int32 = 125
    private static let timedOut: Int32 = 124

    private static let run = Command(
        name: "run",
        summary: "runs a command in a sandbox of its own",
        operands: "[--] CMD…",
        operandCount: 1...4096,
        discussion: """
            The command sees the system's programs read-only, an empty /tmp, and /work: the folder of
            --workspace, or an empty one that is gone afterwards. It has no other file, none of your
            environment, and no network but the hosts of --net, on ports 443 and 80 unless one is named,
            through a proxy that http_proxy and https_proxy name. With --publish it may listen on ports of a
            loopback of its own, and ports of the host's 127.0.0.1 lead there.

            Exits with the command's own status; 128 and the signal's number when one ended it, 124 when its
            time was up, 125 when the sandbox could not start, 127 when there is no such program in it.
            """,
        examples: [
            ("penstock sandbox run -- python3 -m this", "in an empty workspace"),
            (
                "penstock sandbox run --workspace . --timeout 5 -- bash build.sh",
                "on this folder, for 5 s at most"
            ),
            ("penstock sandbox run --skill ops/skills/notes -- ls /skills/notes", "with a skill's folder"),
        ],
        options: [
            .value("workspace", "DIR", "becomes /work, which the command may change")
        ] + grants,
        takesRest: true,
        run: { invocation in try await run(invocation) }
    )

    /// What a command may be granted.
    static let grants: [Command.Option] = [
        .value("net", "HOSTS", "api.example.com,*.example.org:8443; none by default, not even loopback"),
        .value("private-net", "RANGES", "10.1.0.0/16,…: not public, and reached all the same"),
        PublishedPort.option,
        .value("skill", "DIR", "appears read-only as /skills/<its name>"),
        .value("memory", "BYTES", "of all its processes: 512M (the default), 1G, 100000000"),
        .value("timeout", "SECONDS", "1 to 86400, 30 by default"),
        .value("processes", "NUMBER", "processes and threads at a time, 128 by default"),
        .value("processors", "NUMBER", "kept busy at a time, by all its processes: 1 (the default), 0.5"),
        .value("output", "BYTES", "of each of its two streams, 64M by default"),
    ]

    private static func run(_ invocation: Invocation) async throws -> Int32 {
        let walls = try walls(invocation, try SettingsFile.load(invocation))
        var run = try sandboxRun(invocation)
        let ports = try PublishedPort.open(try PublishedPort.grant(invocation, to: &run))
        return try await show(run, walls, ports: ports, control: SandboxControl()).status
    }

    /// Those of the settings that a person names. Not of a `penstock.yaml` that just lies there: who runs in
    /// this folder may have written it.
    static func walls(
        _ invocation: Invocation,
        _ settings: @autoclosure () throws -> Settings
    ) rethrows -> LinuxSandbox.Settings {
        SettingsFile.named(invocation) == nil ? LinuxSandbox.Settings() : try settings().sandbox.linux
    }

    /// Runs it with this program's own streams, and passes on what comes to the ports; the status to exit
    /// with, and how it ended in words.
    static func show(
        _ run: SandboxRun,
        _ walls: LinuxSandbox.Settings,
        ports: [PublishedPort],
        control: SandboxControl
    ) async throws -> (status: Int32, ending: String) {
        let listeners = ports.map { (descriptor: $0.listener, port: $0.inside) }
        let published =
            listeners.isEmpty
            ? nil : PublishedPorts(listeners, control: control, patience: .seconds(10))
        // Output goes through a queue: a slow reader must not stop the sandbox's clock. The cap bounds it.
        let (pieces, queue) = AsyncStream.makeStream(of: (SandboxStream, [UInt8]).self)
        let writer = Task {
            for await (stream, bytes) in pieces { write(bytes, to: stream == .standardOutput ? 1 : 2) }
        }
        let result: Result<SandboxOutcome, SandboxError>
        do throws(SandboxError) {
            result = .success(
                try await LinuxSandbox(walls.withNoneAhead).run(
                    run,
                    standardInput: PipedInput.start(),
                    control: control
                ) { queue.yield(($0, $1)) }
            )
        } catch {
            result = .failure(error)
        }
        await published?.close()
        queue.finish()
        await writer.value
        return (status(of: result), ending(of: result))
    }

    private static func status(of result: Result<SandboxOutcome, SandboxError>) -> Int32 {
        switch result {
        case .failure(let error):
            Terminal.complain("sandbox: \(error.detail)")
            return couldNotStart
        case .success(let outcome):
            switch outcome.ending {
            case .exited(let status): return status
            case .signalled(let signal): return 128 + signal
            case .limit(let limit):
                Terminal.complain("sandbox: ended at its limit of \(limit.rawValue)")
                return limit == .wallClock ? timedOut : 128 + SIGKILL
            }
        }
    }

    private static func ending(of result: Result<SandboxOutcome, SandboxError>) -> String {
        switch result {
        case .failure(let error): "failed: \(error.detail)"
        case .success(let outcome):
            switch outcome.ending {
            case .exited(let status): "exited \(status)"
            case .signalled(let signal): "signalled \(signal)"
            case .limit(let limit): "limit \(limit.rawValue)"
            }
        }
    }

    // MARK: Options

    static func sandboxRun(_ invocation: Invocation) throws -> SandboxRun {
        var run = SandboxRun(command: invocation.operands)
        run.network = try network(invocation)
        run.workspace = try invocation.value("workspace").map { try folder($0, option: "workspace") }
        if let skill = invocation.value("skill") {
            let host = try folder(skill, option: "skill")
            let name = host.split(separator: "/").last.map(String.init) ?? "skill"
            run.mounts = [SandboxMount(host: host, inside: "/skills/\(name)")]
        }
        run.limits.memoryBytes = try bytes(invocation, "memory", default: 512 << 20)
        run.limits.outputBytesPerStream = try bytes(invocation, "output", default: 64 << 20)
        run.limits.processes = try invocation.integer("processes", in: 1...32_768, default: 128)
        if let text = invocation.value("processors") {
            let range = SandboxLimits.processorsRange
            guard let number = Double(text), range.contains(number) else {
                throw UsageError(
                    "--processors \(text): expected a number from \(range.lowerBound) to \(range.upperBound)"
                )
            }
            run.limits.processors = number
        }
        let seconds = try invocation.integer("timeout", in: 1...86_400, default: 30)
        run.limits.wallClock = .seconds(seconds)
        run.limits.cpuTime = .seconds(seconds)
        return run
    }

    private static func network(_ invocation: Invocation) throws -> SandboxNetwork {
        let ranges = try (invocation.value("private-net") ?? "").split(separator: ",").map { text in
            guard let range = AddressRange(String(text)) else {
                throw UsageError("--private-net \(text): expected a range such as 10.1.0.0/16")
            }
            return range
        }
        guard let hosts = invocation.value("net"), hosts != "none" else { return .none }
        let rules = try hosts.split(separator: ",").map { text in
            // A word such as `all` is meant as something else.
            guard let rule = HostRule(String(text)), rule.name.contains(".") || rule.name == "localhost"
            else {
                throw UsageError(
                    "--net \(text): expected none, or hosts such as api.example.com,*.example.org:8443"
                )
            }
            return rule
        }
        return .hosts(SandboxHosts(allowed: rules, label: "penstock sandbox run", privateNetworks: ranges))
    }

    /// What was named, without links: people may well name a link, and the sandbox takes none.
    private static func folder(_ path: String, option: String) throws -> String {
        guard let real = realpath(path, nil) else {
            throw UsageError("--\(option) \(path): \(String(cString: strerror(errno)))")
        }
        defer { free(real) }
        return String(cString: real)
    }

    private static func bytes(_ invocation: Invocation, _ name: String, default fallback: Int) throws -> Int {
        guard let text = invocation.value(name) else { return fallback }
        let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30]
        let shift = text.last.flatMap { shifts[Character($0.uppercased())] }
        let digits = shift == nil ? text[...] : text.dropLast()
        let number = Int(digits) ?? 0
        guard number > 0, number <= (1 << 50) >> (shift ?? 0) else {
            throw UsageError("--\(name) \(text): expected bytes, as 512M, 1G or 100000000")
        }
        return number << (shift ?? 0)
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            // A reader that has gone wants no more.
            guard count > 0 else { return }
            written += count
        }
    }
}
