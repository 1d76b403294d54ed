/// One command and everything it is granted.
package struct SandboxRun: Sendable, Hashable {
    /// Program and arguments; a program without a slash is looked up in the sandbox's own `PATH`.
    package var command: [String]
    /// The whole environment, beside `PATH`, `HOME`, `LANG`, `USER` and `TMPDIR`, which have defaults.
    package var environment: [String: String]
    /// A path inside the sandbox, usually `/work`.
    package var workingDirectory: String
    /// What the command reads on its standard input before end of file.
    package var input: [UInt8]
    /// A folder of the host that becomes `/work`, readable and writable; nil gives an empty one in memory.
    package var workspace: String?
    /// Folders of the host that appear read-only.
    package var mounts: [SandboxMount]
    package var limits: SandboxLimits
    package var network: SandboxNetwork
    /// Secrets that the command itself may hold: lines `NAME=value` to read from its descriptor 3, once. Not
    /// in its environment, where every process would inherit them.
    package var descriptorSecrets: [String: String] = [:]
    /// TCP ports that the command may listen on and connect to, on a loopback of its own; the way in is
    /// `SandboxControl.connect`. At most 16, from 1024; not 3128 where the network is `hosts`.
    package var ports: [UInt16] = []

    package init(
        command: [String],
        environment: [String: String] = [:],
        workingDirectory: String = "/work",
        input: [UInt8] = [],
        workspace: String? = nil,
        mounts: [SandboxMount] = [],
        limits: SandboxLimits = .standard,
        network: SandboxNetwork = .none
    ) {
        self.command = command
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.input = input
        self.workspace = workspace
        self.mounts = mounts
        self.limits = limits
        self.network = network
    }
}

/// A folder of the host that a skill may read, such as its own at `/skills/<name>`.
package struct SandboxMount: Sendable, Hashable {
    package var host: String
    package var inside: String

    package init(host: String, inside: String) {
        self.host = host
        self.inside = inside
    }
}

package enum SandboxNetwork: Sendable, Hashable {
    /// No interface is up; not even loopback, but for a run with ports.
    case none
    /// Loopback is up with one listener, the proxy's, which `http_proxy` and `https_proxy` name.
    case hosts(SandboxHosts)
}

/// What one run may use; a limit that is met ends the run with an outcome that names it, or makes the system
/// call fail that asked for more (processes, open files, space in memory), and then the command decides.
package struct SandboxLimits: Sendable, Hashable {
    /// Counted from the start of the command.
    package var wallClock: Duration
    /// Of each process.
    package var cpuTime: Duration
    /// Of the whole tree where cgroups are delegated; else of each process, and watched for the tree.
    package var memoryBytes: Int
    /// Processes and threads at a time.
    package var processes: Int
    /// Of each process.
    package var openFiles: Int
    /// Largest file the command may write.
    package var fileBytes: Int
    /// Space in `/tmp`, and in a `/work` that is in memory.
    package var temporaryBytes: Int
    package var outputBytesPerStream: Int
    /// Space and entries of a workspace that is a folder of the host. Looked at several times a second, so
    /// what a fast writer reaches may be more; a command that nearly fills the host's disk is ended too.
    package var workspaceBytes: Int
    package var workspaceEntries: Int
    /// Share of the machine's processors for the whole tree, in processors: 0.5 is half of one. Where cgroups
    /// have processors delegated; elsewhere only `cpuTime` is held.
    package var processors: Double
    package static let processorsRange = 0.05...1_024.0

    package init(
        wallClock: Duration,
        cpuTime: Duration,
        memoryBytes: Int,
        processes: Int,
        openFiles: Int,
        fileBytes: Int,
        temporaryBytes: Int,
        outputBytesPerStream: Int,
        workspaceBytes: Int = 256 << 20,
        workspaceEntries: Int = 20_000,
        processors: Double = 1
    ) {
        self.wallClock = wallClock
        self.cpuTime = cpuTime
        self.memoryBytes = memoryBytes
        self.processes = processes
        self.openFiles = openFiles
        self.fileBytes = fileBytes
        self.temporaryBytes = temporaryBytes
        self.outputBytesPerStream = outputBytesPerStream
        self.workspaceBytes = workspaceBytes
        self.workspaceEntries = workspaceEntries
        self.processors = processors
    }

    /// 30 s, 30 s of processor time, 512 MiB, 128 processes, 256 open files, 64 MiB a file and in memory, 1
    /// MiB a stream, one processor.
    package static let standard = Self(
        wallClock: .seconds(30),
        cpuTime: .seconds(30),
        memoryBytes: 512 << 20,
        processes: 128,
        openFiles: 256,
        fileBytes: 64 << 20,
        temporaryBytes: 64 << 20,
        outputBytesPerStream: 1 << 20
    )
}
