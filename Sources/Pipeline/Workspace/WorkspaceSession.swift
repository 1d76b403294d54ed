/// A session on a folder of the host. Its processes are tasks that `close` cancels and awaits.
package actor WorkspaceSession: SandboxSession {
    private struct Running {
        var process: SessionProcess
        let control: SandboxControl
        var log: SessionLog
        var task: Task<Void, Never>?
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private static let processesMax = 100
    private static let runningMax = 32

    private let sandbox: any ControllableSandbox
    /// What every command gets: workspace, mounts, limits, network, variables.
    private let base: SandboxRun
    private var running: [Int: Running] = [:]
    private var nextID = 1
    private var isClosed = false
    private let watches = SessionWatches()

    /// `base.workspace` is the session's folder; its command is not used.
    package init(_ sandbox: any ControllableSandbox, base: SandboxRun) {
        self.sandbox = sandbox
        self.base = base
    }

    package func exec(
        _ command: SessionCommand,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome {
        try await sandbox.run(try run(command), output: output)
    }

    package func start(_ command: SessionCommand) async throws(SandboxError) -> SessionProcess.ID {
        let run = try run(command)
        guard running.values.count(where: \.process.isRunning) < Self.runningMax else {
            throw SandboxError(.busy, "\(Self.runningMax) processes run in this session already")
        }
        forgetOldest()
        let id = nextID
        nextID += 1
        let log = SessionLog()
        let control = SandboxControl()
        running[id] = Running(
            process: SessionProcess(id: id, command: command.command, ports: command.ports),
            control: control,
            log: log
        )
        running[id]?.task = Task {
            do throws(SandboxError) {
                let outcome = try await sandbox.run(run, control: control) { _, bytes in log.append(bytes) }
                ended(id) { $0.outcome = outcome }
            } catch {
                ended(id) { $0.failure = error }
            }
        }
        return id
    }

    package func processes() -> [SessionProcess] {
        running.values.map(\.process).sorted { $0.id < $1.id }
    }

    package func logs(of id: SessionProcess.ID) throws(SandboxError) -> [UInt8] {
        try known(id).log.bytes
    }

    package func signal(_ number: Int32, to id: SessionProcess.ID) throws(SandboxError) {
        try known(id).control.signal(number)
    }

    package func wait(for id: SessionProcess.ID) async throws(SandboxError) -> SandboxOutcome {
        if try known(id).process.isRunning {
            await withCheckedContinuation { running[id]?.waiters.append($0) }
        }
        let process = try known(id).process
        if let failure = process.failure { throw failure }
        guard let outcome = process.outcome else { preconditionFailure("process \(id) woke without an end") }
        return outcome
    }

    package func connect(
        to id: SessionProcess.ID,
        port: UInt16,
        patience: Duration
    ) async throws(SandboxError) -> PortConnection {
        try await known(id).control.connect(to: port, patience: patience)
    }

    package func close() async {
        isClosed = true
        watches.end()
        let tasks = running.values.compactMap(\.task)
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    private func known(_ id: Int) throws(SandboxError) -> Running {
        guard let found = running[id] else {
            throw SandboxError(.invalid, "there is no process \(id) in this session")
        }
        return found
    }

    private func ended(_ id: Int, _ change: (inout SessionProcess) -> Void) {
        guard var ended = running[id] else { return }
        change(&ended.process)
        let waiters = ended.waiters
        ended.waiters = []
        running[id] = ended
        for waiter in waiters { waiter.resume() }
    }

    private func forgetOldest() {
        let past = running.values.filter { !$0.process.isRunning }.map(\.process.id).sorted()
        for id in past.dropLast(Self.processesMax - 1) { running[id] = nil }
    }

    private func run(_ command: SessionCommand) throws(SandboxError) -> SandboxRun {
        guard !isClosed else { throw SandboxError(.invalid, "the session is closed") }
        var run = base
        run.command = command.command
        run.environment.merge(command.environment) { $1 }
        run.input = command.input
        run.ports = command.ports
        if let folder = command.folder { run.workingDirectory = try Self.inside(folder) }
        if let timeout = command.timeout { run.limits.wallClock = timeout }
        return run
    }
}

// Files, from inside a sandbox: a link in the folder leads to where it would lead a command.
extension WorkspaceSession {
    package func read(_ path: String, most: Int) async throws(SandboxError) -> [UInt8] {
        var command = SessionCommand(["head", "-c", "\(most + 1)", "--", try Self.inside(path)])
        command.timeout = .seconds(10)
        var run = try run(command)
        run.limits.outputBytesPerStream = max(most + 1, 4_096)
        let outcome = try await sandbox.run(run) { _, _ in }
        try Self.check(outcome, path)
        guard outcome.standardOutput.count <= most else {
            throw SandboxError(.invalid, "\(path) has more than \(most) bytes")
        }
        return outcome.standardOutput
    }

    package func write(_ path: String, _ bytes: [UInt8]) async throws(SandboxError) {
        let script = "mkdir -p -- \"$(dirname -- \"$1\")\" && cat >\"$1\""
        var command = SessionCommand(["sh", "-c", script, "sh", try Self.inside(path)])
        command.input = bytes
        command.timeout = .seconds(30)
        try Self.check(try await sandbox.run(try run(command)) { _, _ in }, path)
    }

    package func list(_ path: String) async throws(SandboxError) -> [SessionEntry] {
        let folder = try Self.inside(path)
        let form = "%y %s %f\\0"
        var command = SessionCommand([
            "find", folder + "/", "-mindepth", "1", "-maxdepth", "1", "-printf", form,
        ])
        command.timeout = .seconds(10)
        let outcome = try await sandbox.run(try run(command)) { _, _ in }
        try Self.check(outcome, path)
        return outcome.standardOutput.split(separator: 0).compactMap { line in
            let parts = line.split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, let bytes = Int(String(decoding: parts[1], as: UTF8.self)) else {
                return nil
            }
            let kinds: [UInt8: SessionEntry.Kind] = [0x66: .file, 0x64: .folder, 0x6C: .link]
            let kind = parts[0].first.flatMap { kinds[$0] } ?? .other
            return SessionEntry(name: String(decoding: parts[2], as: UTF8.self), kind: kind, bytes: bytes)
        }.sorted { $0.name < $1.name }
    }

    package func watch(_ path: String) throws(SandboxError) -> AsyncStream<SessionChange> {
        guard !isClosed else { throw SandboxError(.invalid, "the session is closed") }
        guard let folder = base.workspace else { throw SandboxError(.invalid, "the session has no folder") }
        let below = String(try Self.inside(path).dropFirst("/work".utf8.count))
        return try watches.open { (changes) throws(SandboxError) in
            try sandbox.watch(folder, below, into: changes)
        }
    }

    private static func check(_ outcome: SandboxOutcome, _ path: String) throws(SandboxError) {
        guard !outcome.succeeded else { return }
        let said = String(decoding: outcome.standardError.prefix(500), as: UTF8.self)
        throw SandboxError(.invalid, "\(path): \(said.isEmpty ? "\(outcome.ending)" : said)")
    }

    private static func inside(_ path: String) throws(SandboxError) -> String {
        let full = path.hasPrefix("/") ? path : "/work/\(path)"
        let isBelow = full == "/work" || full.hasPrefix("/work/")
        guard isBelow, !full.split(separator: "/").contains("..") else {
            throw SandboxError(.invalid, "\(path) is not below /work")
        }
        return full
    }
}
