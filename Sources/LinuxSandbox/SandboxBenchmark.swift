import CSandbox
import Glibc
package import Pipeline
import Synchronization

/// What a sandbox costs, beside what the same program costs without one, measured in turn in one process.
package struct SandboxBenchmark: Sendable {
    package struct Measurement: Sendable {
        package var name: String
        /// Medians in microseconds, from the call until the process is gone.
        package var value: Double
        package var floor: Double
        /// bubblewrap with the same namespaces and filter, when it is installed.
        package var bubblewrap: Double?
        package var runs: Int

        package var ratio: Double { value / floor }
    }

    private static let pauseMicroseconds: UInt32 = 8000

    private let runs: Int
    private let command: [String]

    package init(runs: Int, command: [String] = ["/bin/true"]) {
        self.runs = runs
        self.command = command
    }

    /// A fresh sandbox for each command, through the Swift interface; the floor is vfork, exec and wait.
    package func cold(_ sandbox: LinuxSandbox) async throws(SandboxError) -> Measurement {
        var inside: [Double] = []
        var outside: [Double] = []
        var bubblewrap: [Double] = []
        let filter = try SystemCallFilter().program
        let hasBubblewrap = access("/usr/bin/bwrap", X_OK) == 0
        let run = SandboxRun(command: command)
        for round in 0..<(runs + 3) {
            let start = MonotonicTime.now()
            let outcome = try await sandbox.run(run) { _, _ in }
            let end = MonotonicTime.now()
            guard outcome.succeeded else {
                throw SandboxError(
                    .invalid,
                    "\(command[0]) ended with \(outcome.ending): measure one that succeeds"
                )
            }
            let floor = try Self.time(command)
            let wrap = hasBubblewrap ? try Self.timeBubblewrap(command, filter: filter) : nil
            // The first rounds warm caches up.
            guard round >= 3 else { continue }
            inside.append(Double(end - start) / 1000)
            outside.append(floor)
            if let wrap { bubblewrap.append(wrap) }
        }
        return Measurement(
            name: "sandbox-cold",
            value: Self.median(inside),
            floor: Self.median(outside),
            bubblewrap: bubblewrap.isEmpty ? nil : Self.median(bubblewrap),
            runs: runs
        )
    }

    /// A sandbox made ahead, until the first byte of what the command says, beside the same without one.
    package func warm(_ settings: LinuxSandbox.Settings) async throws(SandboxError) -> Measurement {
        let sandbox = try LinuxSandbox(settings)
        var inside: [Double] = []
        var outside: [Double] = []
        for round in 0..<(runs + 3) {
            let seen = FirstByte()
            let start = MonotonicTime.now()
            let outcome = try await sandbox.run(SandboxRun(command: command)) { _, _ in seen.note() }
            guard outcome.succeeded, let first = seen.time else {
                throw SandboxError(.invalid, "\(command[0]) ended with \(outcome.ending) or said nothing")
            }
            // The next one is made meanwhile, as it would be between two calls of skills. Both sides come out
            // of the same pause: a processor that slept is slower at first.
            usleep(Self.pauseMicroseconds)
            let floor = try Self.timeToFirstByte(command)
            usleep(Self.pauseMicroseconds)
            guard round >= 3 else { continue }
            inside.append(Double(first - start) / 1000)
            outside.append(floor)
        }
        return Measurement(
            name: "sandbox-warm",
            value: Self.median(inside),
            floor: Self.median(outside),
            runs: runs
        )
    }

    private final class FirstByte: Sendable {
        private let noted = Mutex<UInt64?>(nil)

        var time: UInt64? { noted.withLock { $0 } }

        func note() {
            let now = MonotonicTime.now()
            noted.withLock { if $0 == nil { $0 = now } }
        }
    }

    private static func timeToFirstByte(_ command: [String]) throws(SandboxError) -> Double {
        let arguments = command.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var nanoseconds: UInt64 = 0
        let status = sandbox_exec_to_first_byte(arguments, &nanoseconds)
        guard status == 0 else {
            throw SandboxError(
                .invalid,
                "\(command.joined(separator: " ")): status \(status) without our sandbox"
            )
        }
        return Double(nanoseconds) / 1000
    }

    private static func time(_ command: [String]) throws(SandboxError) -> Double {
        let arguments = command.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        let start = MonotonicTime.now()
        let status = sandbox_exec_and_wait(arguments)
        let end = MonotonicTime.now()
        guard status == 0 else {
            throw SandboxError(
                .invalid,
                "\(command.joined(separator: " ")): status \(status) without our sandbox"
            )
        }
        return Double(end - start) / 1000
    }

    /// As strict as bubblewrap gets by its options; the filter goes through a pipe that it inherits.
    private static func timeBubblewrap(_ command: [String], filter: [UInt8]) throws(SandboxError) -> Double {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, write(ends[1], filter, filter.count) == filter.count else {
            throw SandboxError(.busy, "no pipe for bubblewrap's filter")
        }
        close(ends[1])
        defer { close(ends[0]) }
        let options = [
            "/usr/bin/bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000",
            "--hostname",
            "sandbox", "--clearenv", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--ro-bind",
            "/usr",
            "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64",
            "/lib64",
            "--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind", "/etc/ssl/certs",
            "/etc/ssl/certs",
            "--ro-bind", "/etc/alternatives", "/etc/alternatives", "--proc", "/proc", "--dev", "/dev",
            "--tmpfs",
            "/tmp", "--tmpfs", "/work", "--seccomp", "\(ends[0])",
        ]
        return try time(options + command)
    }

    static func median(_ values: [Double]) -> Double {
        values.sorted()[values.count / 2]
    }
}
