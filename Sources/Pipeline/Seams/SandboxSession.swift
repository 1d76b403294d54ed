/// A place to work in over many commands: files that stay, and processes that go on in the background.
///
/// Contract:
/// - Each command has a sandbox of its own, with all its walls; the session's folder is what they share. They
///   do not see each other's processes, and nothing but the folder outlives a command.
/// - Paths are relative to the folder, `/work` inside, or begin with `/work/`. Files are read and written
///   from inside a sandbox too, so that no link in the folder leads out of it.
/// - `close` ends every process; the folder stays its maker's. After it every call throws `.invalid`.
package protocol SandboxSession: Sendable {
    /// Runs a command to its end; the rest is as in `SkillSandbox.run`.
    func exec(
        _ command: SessionCommand,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome

    /// Starts a command and returns at once.
    func start(_ command: SessionCommand) async throws(SandboxError) -> SessionProcess.ID
    /// Those that were started, oldest first; ended ones too, the last 100.
    func processes() async -> [SessionProcess]
    /// What the process has said so far, both streams as they came, at most its cap of each.
    func logs(of process: SessionProcess.ID) async throws(SandboxError) -> [UInt8]
    func signal(_ number: Int32, to process: SessionProcess.ID) async throws(SandboxError)
    /// Returns when the process has ended; at once for one that has.
    func wait(for process: SessionProcess.ID) async throws(SandboxError) -> SandboxOutcome
    /// A new connection to a port that the process was granted; waits as long as `patience` until something
    /// listens there. Throws `.invalid` when nothing does in time, the port was not granted, or the process
    /// has ended.
    func connect(
        to process: SessionProcess.ID,
        port: UInt16,
        patience: Duration
    ) async throws(SandboxError) -> PortConnection

    /// Throws `.invalid` for what is no readable file, or has more bytes than `most`.
    func read(_ path: String, most: Int) async throws(SandboxError) -> [UInt8]
    /// Makes the folders above it.
    func write(_ path: String, _ bytes: [UInt8]) async throws(SandboxError)
    /// Sorted by name.
    func list(_ path: String) async throws(SandboxError) -> [SessionEntry]

    /// What changes from now on at the path, a file or a folder with all below it, those made later too; at
    /// most 8 watches at a time. Ends when the session is closed or the folder is gone. No link is followed.
    func watch(_ path: String) async throws(SandboxError) -> AsyncStream<SessionChange>

    func close() async
}

package struct SessionCommand: Sendable, Hashable {
    package var command: [String]
    package var environment: [String: String] = [:]
    /// Below `/work`; nil for it.
    package var folder: String?
    package var input: [UInt8] = []
    /// Beyond the session's own; nil for that.
    package var timeout: Duration?
    /// That a background process may listen on, as in `SandboxRun.ports`.
    package var ports: [UInt16] = []

    package init(_ command: [String]) {
        self.command = command
    }
}

package struct SessionProcess: Sendable, Hashable, Identifiable {
    package let id: Int
    package let command: [String]
    package let ports: [UInt16]
    /// Nil while it runs.
    package var outcome: SandboxOutcome?
    /// Why it could not be run.
    package var failure: SandboxError?

    package var isRunning: Bool { outcome == nil && failure == nil }
}

package struct SessionEntry: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable {
        case file, folder, link, other
    }

    package let name: String
    package let kind: Kind
    package let bytes: Int
}

/// A sandbox whose runs can be told something while they run, and whose folders can be watched.
package protocol ControllableSandbox: SkillSandbox {
    func run(
        _ run: SandboxRun,
        control: SandboxControl,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome

    /// Tells of changes at the path, relative and with no `..`, below the folder of the host. What it returns
    /// ends it, and is called once.
    func watch(
        _ folder: String,
        _ path: String,
        into changes: AsyncStream<SessionChange>.Continuation
    ) throws(SandboxError) -> @Sendable () -> Void
}
