import CLinux
import CSandbox
import Glibc
package import Pipeline
import Synchronization

/// What a sandbox costs, beside what the same program costs without one, measured in turn in one process.
package struct SandboxBenchmark: Sendable {
    package struct Measurement: Sendable {
        package var name: String
        /// Medians in microseconds, or a rate.
        package var value: Double
        package var floor: Double
        /// bubblewrap with the same namespaces and filter, when it is installed.
        package var bubblewrap: Double?
        package var unit = "us"
        package var runs: Int
        /// Of other programs in the same run, by name.
        package var others: [String: (value: Double, floor: Double)] = [:]

        package var ratio: Double { value / floor }
    }

    private static let pauseMicroseconds: UInt32 = 8000
    private static let loadMicroseconds: UInt32 = 200_000

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

    /// A Python that waits in a sandbox made ahead, until the first byte of its program, beside a fresh
    /// `python3 -c` of the same program without a sandbox.
    package func python(_ settings: LinuxSandbox.Settings) async throws(SandboxError) -> Measurement {
        var settings = settings
        settings.pythonPoolSize = max(settings.pythonPoolSize, 2)
        let sandbox = try LinuxSandbox(settings)
        // Tells a Python that waited, whose libraries are loaded, from a fresh one.
        let program = "import os, sys; os.write(1, b'w' if 'sqlite3' in sys.modules else b'f')"
        let run = SandboxRun(command: ["python3", "-c", program])
        var inside: [Double] = []
        var outside: [Double] = []
        for _ in 0..<(runs * 2) where inside.count < runs + 3 {
            let seen = FirstByte()
            let start = MonotonicTime.now()
            let outcome = try await sandbox.run(run) { _, _ in seen.note() }
            guard outcome.succeeded, let first = seen.time else {
                throw SandboxError(.invalid, "python3 ended with \(outcome.ending) or said nothing")
            }
            // The next one loads its libraries meanwhile.
            usleep(Self.loadMicroseconds)
            let floor = try Self.timeToFirstByte(["/usr/bin/python3", "-c", program])
            usleep(Self.pauseMicroseconds)
            guard outcome.standardOutput == Array("w".utf8) else { continue }
            inside.append(Double(first - start) / 1000)
            outside.append(floor)
        }
        guard inside.count == runs + 3 else {
            throw SandboxError(
                .busy,
                "only \(inside.count) runs found a Python waiting: is the machine busy?"
            )
        }
        return Measurement(
            name: "sandbox-warm",
            value: Self.median(Array(inside.dropFirst(3))),
            floor: Self.median(Array(outside.dropFirst(3))),
            runs: runs
        )
    }

    /// Sandboxes for the command in a second, with `atOnce` at a time, beside bare vforks and execs of it on
    /// as many threads as there are processors.
    package func rate(_ sandbox: LinuxSandbox, atOnce: Int) async throws(SandboxError) -> Measurement {
        let run = SandboxRun(command: command)
        let each = max(1, runs / atOnce)
        let start = MonotonicTime.now()
        let failures = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<atOnce {
                group.addTask {
                    var failures = 0
                    for _ in 0..<each {
                        do throws(SandboxError) {
                            if try await !sandbox.run(run, output: { _, _ in }).succeeded { failures += 1 }
                        } catch {
                            failures += 1
                        }
                    }
                    return failures
                }
            }
            return await group.reduce(0, +)
        }
        let seconds = Double(MonotonicTime.now() - start) / 1e9
        guard failures == 0 else { throw SandboxError(.busy, "\(failures) of \(each * atOnce) runs failed") }
        return Measurement(
            name: "sandbox-rate",
            value: Double(each * atOnce) / seconds,
            floor: try bareRate(),
            unit: "/s",
            runs: each * atOnce
        )
    }

    private func bareRate() throws(SandboxError) -> Double {
        let threads = max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)))
        let each = max(1, runs / threads)
        let left = Mutex(threads)
        let ends = eventfd(0, CInt(EFD_CLOEXEC))
        defer { close(ends) }
        let start = MonotonicTime.now()
        for _ in 0..<threads {
            try SandboxThread.start { [command] in
                // The same command has just run inside.
                for _ in 0..<each { _ = try? Self.time(command) }
                let isLast = left.withLock { left in
                    left -= 1
                    return left == 0
                }
                if isLast { eventfd_write(ends, 1) }
            }
        }
        var count: eventfd_t = 0
        eventfd_read(ends, &count)
        return Double(each * threads) / (Double(MonotonicTime.now() - start) / 1e9)
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
