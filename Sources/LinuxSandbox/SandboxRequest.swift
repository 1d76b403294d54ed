import CSandbox
import CLinux
import Glibc
import Pipeline

/// A checked run, as the packet the spawner takes.
struct SandboxRequest {
    private(set) var packet: [UInt8] = []
    /// Which sandboxes made ahead may take it, the best first.
    private(set) var pools: [sandbox_pool] = []
    private let run: SandboxRun
    private let variables: [(String, String)]

    private static let defaults = [
        "HOME": "/work", "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": "/tmp",
        "USER": "agent",
    ]
    init(_ run: SandboxRun, id: UInt64) throws(SandboxError) {
        self.run = run
        variables = Self.defaults.merging(Self.networkVariables(run.network)) { $1 }
            .merging(run.environment) { $1 }.sorted { $0.key < $1.key }
        try checkCommand()
        try checkSecrets()
        try checkMounts()
        try checkPorts()
        var request = try header(id: id)
        let candidates = self.candidates
        request.candidates = UInt32(candidates.count)
        packet = withUnsafeBytes(of: request) { Array($0) }
        let isForPython = WarmPython.arguments(of: run) != nil
        request.is_for_interpreter = isForPython ? 1 : 0
        if run.network == .none, run.ports.isEmpty {
            pools = (isForPython ? [SANDBOX_POOL_INTERPRETER] : []) + [SANDBOX_POOL_PLAIN]
        }
        for text in candidates + run.command { append(text) }
        for (name, value) in variables { append("\(name)=\(value)") }
        append(run.workingDirectory)
        append(try workspace(into: &request))
        for mount in run.mounts {
            append(try Self.realPath(mount.host, what: "mount \(mount.inside)").path)
            append(mount.inside)
        }
        withUnsafeBytes(of: request) { packet.replaceSubrange(0..<$0.count, with: $0) }
        guard packet.count <= SANDBOX_MESSAGE_BYTES_MAX else {
            throw SandboxError(
                .invalid,
                "command and environment are \(packet.count) bytes, over \(SANDBOX_MESSAGE_BYTES_MAX): "
                    + "pass large values as input or in the workspace"
            )
        }
    }

    /// To run in a control group that the spawner has, by its number.
    mutating func enter(_ group: UInt64) {
        packet.withUnsafeMutableBytes {
            $0.storeBytes(of: group, toByteOffset: Self.groupOffset, as: UInt64.self)
        }
    }

    private static let groupOffset: Int = {
        guard let offset = MemoryLayout<sandbox_request>.offset(of: \.group) else {
            preconditionFailure("a member of a C structure has a place")
        }
        return offset
    }()

    /// Where programs look for a proxy, and what stands for the secrets that stay outside.
    private static func networkVariables(_ network: SandboxNetwork) -> [String: String] {
        guard case .hosts(let hosts) = network else { return [:] }
        let proxy = "http://127.0.0.1:\(SANDBOX_DOOR_PORT)"
        var variables = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"].reduce(into: [:]) {
            $0[$1] = proxy
        }
        // Node 24 and later.
        variables["NODE_USE_ENV_PROXY"] = "1"
        if TLSInterception.isNeeded(hosts) {
            for name in certificateVariables { variables[name] = SANDBOX_CERTIFICATES_FILE }
        }
        for secret in hosts.secrets { variables[secret.name] = secret.placeholder }
        return variables
    }

    /// Where programs look for the authorities they trust: OpenSSL and what is built on it, such as Python's
    /// ssl; curl; Python's requests and pip; Node, which adds them to its own; git.
    private static let certificateVariables = [
        "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
    ]

    /// What the command reads from its descriptor for secrets.
    static func secretLines(_ run: SandboxRun) -> String {
        run.descriptorSecrets.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined()
    }

    private func checkSecrets() throws(SandboxError) {
        var secrets = run.descriptorSecrets
        if case .hosts(let hosts) = run.network {
            for secret in hosts.secrets { secrets[secret.name] = secret.value }
        }
        for (name, value) in secrets {
            // In a head of HTTP, and in lines: nothing that ends one.
            let isClean = value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
            guard !name.isEmpty, !name.contains("="), !Self.hasNul(name), !value.isEmpty, isClean else {
                throw SandboxError(.invalid, "the secret \(name): empty, or with a control character")
            }
        }
        guard Self.secretLines(run).utf8.count <= 32_768 else {
            throw SandboxError(.invalid, "the secrets for the command are over 32768 bytes")
        }
    }

    private mutating func append(_ text: String) {
        packet += text.utf8
        packet.append(0)
    }

    /// Where a program may be: its own path, or its name in each folder of `PATH`.
    private var candidates: [String] {
        let program = run.command[0]
        guard !program.contains("/") else { return [program] }
        let path = variables.first { $0.0 == "PATH" }?.1 ?? ""
        return path.split(separator: ":").filter { $0.hasPrefix("/") }.prefix(64).map { "\($0)/\(program)" }
    }

    private func checkCommand() throws(SandboxError) {
        guard let program = run.command.first, !program.isEmpty else {
            throw SandboxError(.invalid, "the command is empty: name a program")
        }
        guard run.command.count <= SANDBOX_STRINGS_MAX, variables.count <= SANDBOX_STRINGS_MAX else {
            throw SandboxError(.invalid, "more than \(SANDBOX_STRINGS_MAX) arguments or variables")
        }
        for (name, value) in variables
        where name.isEmpty || name.utf8.contains(UInt8(ascii: "=")) || Self.hasNul(value) {
            throw SandboxError(
                .invalid,
                "environment variable \(name): its name has a '=', or its value a NUL byte"
            )
        }
        let texts = run.command + variables.map(\.0) + [run.workingDirectory, run.workspace ?? ""]
        guard !texts.contains(where: Self.hasNul) else {
            throw SandboxError(.invalid, "\(program): an argument, variable or path has a NUL byte")
        }
        guard run.workingDirectory.hasPrefix("/") else {
            throw SandboxError(
                .invalid,
                "working directory \(run.workingDirectory): it must begin with a slash"
            )
        }
    }

    private static func hasNul(_ text: String) -> Bool { text.utf8.contains(0) }

    private func checkMounts() throws(SandboxError) {
        guard run.mounts.count <= SANDBOX_MOUNTS_MAX else {
            throw SandboxError(.invalid, "\(run.mounts.count) mounts, over \(SANDBOX_MOUNTS_MAX)")
        }
        var taken: [[Substring]] = []
        for mount in run.mounts {
            let parts = mount.inside.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
            let isPlain = parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
            guard mount.inside.hasPrefix("/"), isPlain, parts.count > 1, parts.first == "skills",
                mount.inside.utf8.count < 4096, !Self.hasNul(mount.inside), !Self.hasNul(mount.host)
            else {
                throw SandboxError(.invalid, "mount \(mount.inside): name a plain path below /skills")
            }
            let path = Array(parts)
            guard !taken.contains(where: { $0.starts(with: path) || path.starts(with: $0) }) else {
                throw SandboxError(.invalid, "mount \(mount.inside): it lies in or above another mount")
            }
            taken.append(path)
        }
    }

    private func checkPorts() throws(SandboxError) {
        var taken: Set<UInt16> = []
        if case .hosts = run.network { taken.insert(UInt16(SANDBOX_DOOR_PORT)) }
        for port in run.ports where port < 1_024 || !taken.insert(port).inserted {
            throw SandboxError(
                .invalid,
                "port \(port): name each once, from 1024 to 65535, and not \(SANDBOX_DOOR_PORT) beside a "
                    + "network, whose proxy is there"
            )
        }
        guard run.ports.count <= SANDBOX_PORTS_MAX else {
            throw SandboxError(.invalid, "\(run.ports.count) ports, over \(SANDBOX_PORTS_MAX)")
        }
    }

    private func header(id: UInt64) throws(SandboxError) -> sandbox_request {
        let limits = run.limits
        let numbers = [
            limits.memoryBytes, limits.processes, limits.openFiles, limits.fileBytes, limits.temporaryBytes,
            limits.outputBytesPerStream, limits.workspaceBytes, limits.workspaceEntries,
        ]
        guard limits.wallClock > .zero, limits.cpuTime > .zero, numbers.allSatisfy({ $0 > 0 }),
            limits.openFiles >= 16
        else {
            throw SandboxError(
                .invalid,
                "every limit must be above zero, and open files at least 16: \(limits)"
            )
        }
        var request = sandbox_request()
        request.message = SANDBOX_RUN.rawValue
        request.arguments = UInt32(run.command.count)
        request.variables = UInt32(variables.count)
        request.mounts = UInt32(run.mounts.count)
        if case .hosts(let hosts) = run.network {
            request.has_door = 1
            request.has_certificates = TLSInterception.isNeeded(hosts) ? 1 : 0
        }
        request.has_secrets = run.descriptorSecrets.isEmpty ? 0 : 1
        request.id = id
        withUnsafeMutableBytes(of: &request.ports) { ports in
            for (index, port) in run.ports.enumerated() {
                ports.storeBytes(of: port, toByteOffset: 2 * index, as: UInt16.self)
            }
        }
        let cpu = limits.cpuTime.components
        request.cpu_seconds = UInt64(cpu.seconds) + (cpu.attoseconds > 0 ? 1 : 0)
        request.memory_bytes = UInt64(limits.memoryBytes)
        request.processes = UInt64(limits.processes)
        request.open_files = UInt64(limits.openFiles)
        request.file_bytes = UInt64(limits.fileBytes)
        request.temporary_bytes = UInt64(limits.temporaryBytes)
        request.workspace_bytes = UInt64(limits.workspaceBytes)
        request.workspace_entries = UInt64(limits.workspaceEntries)
        return request
    }

    private func workspace(into request: inout sandbox_request) throws(SandboxError) -> String {
        guard let workspace = run.workspace else { return "" }
        let real = try Self.realPath(workspace, what: "workspace")
        request.workspace_device = real.device
        request.workspace_inode = real.inode
        return real.path
    }

    /// The folder without symbolic links on the way, and which one it is; the folder itself may not be a
    /// link.
    private static func realPath(
        _ path: String,
        what: String
    ) throws(SandboxError) -> (path: String, device: UInt64, inode: UInt64) {
        guard path.hasPrefix("/") else {
            throw SandboxError(.invalid, "\(what) \(path): it must begin with a slash")
        }
        let folder = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0 else {
            throw SandboxError(
                .invalid,
                "\(what) \(path): \(String(cString: strerror(errno))): name a folder, not a link"
            )
        }
        defer { close(folder) }
        var found = stat()
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/fd/\(folder)", &buffer, buffer.count)
        guard fstat(folder, &found) == 0, count > 0, count < buffer.count else {
            throw SandboxError(.invalid, "\(what) \(path): \(String(cString: strerror(errno)))")
        }
        return (String(decoding: buffer[..<count], as: UTF8.self), UInt64(found.st_dev), UInt64(found.st_ino))
    }
}
