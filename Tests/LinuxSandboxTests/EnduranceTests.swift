import Foundation
import LinuxSandbox
import Pipeline
import Testing

@Suite("Under stress", .serialized)
struct EnduranceTests {
    @Test("many fork bombs in a row leave nothing and harm no other run", arguments: Builder.here)
    func survivesForkBombs(builder: Builder) async throws {
        let count = ProcessInfo.processInfo.environment["BOMBS"].flatMap { Int($0) } ?? 5
        let sandbox = try builder.sandbox
        let mark = "3600.\(UInt32.random(in: 1_000_000...9_999_999))"
        var bomb = SandboxRun(command: ["bash", "-c", "b() { sleep \(mark) & b | b & }; b; sleep 5"])
        bomb.limits.wallClock = .milliseconds(150)
        bomb.limits.processes = 64

        for _ in 0..<count {
            async let ending = sandbox.run(bomb) { _, _ in }.ending
            let other = try await sandbox.run(SandboxRun(command: ["echo", "fine"])) { _, _ in }
            #expect(other.text == "fine\n")
            _ = try await ending
        }

        #expect(HostProcess.marked(mark).map(\.pid) == [])
    }

    @Test(
        "a killed spawner takes its sandboxes along, and the next run starts another",
        arguments: Builder.here
    )
    func restartsSpawner(builder: Builder) async throws {
        let ground = try await Ground(builder.settings, "setsid sleep MARK & echo begun; wait")

        kill(ground.spawner, SIGKILL)

        await ground.expectAnother()
        #expect(HostProcess.marked(ground.mark).map(\.pid) == [])
    }

    /// A sandbox in which a command runs until its spawner is gone.
    private struct Ground {
        let sandbox: LinuxSandbox
        /// In the arguments of the command's processes.
        let mark = "3600.\(UInt32.random(in: 1_000_000...9_999_999))"
        let spawner: pid_t
        private let task: Task<SandboxOutcome, any Error>

        /// `script`: with `MARK`, and says something once it has begun.
        init(_ settings: LinuxSandbox.Settings, _ script: String) async throws {
            let sandbox = try LinuxSandbox(settings)
            let begun = AsyncStream.makeStream(of: Void.self)
            let run = SandboxRun(command: ["bash", "-c", script.replacing("MARK", with: mark)])
            task = Task { try await sandbox.run(run) { _, _ in begun.continuation.yield() } }
            for await _ in begun.stream { break }
            spawner = try #require(HostProcess.spawner(of: mark))
            self.sandbox = sandbox
        }

        /// The command ended with its spawner, and the next one runs.
        func expectAnother() async {
            let error = await #expect(throws: SandboxError.self) { try await task.value }
            #expect(error?.kind == .unavailable(layer: "spawner"))
            await #expect(throws: Never.self) {
                let next = try await sandbox.run(SandboxRun(command: ["echo", "again"])) { _, _ in }
                #expect(next.text == "again\n")
            }
        }
    }

    @Test(
        "a killed spawner is missed at once, though a child of it may hold its socket",
        arguments: Builder.here
    )
    func missesSpawner(builder: Builder) async throws {
        let ground = try await Ground(builder.settings, "sleep MARK & echo begun; wait")
        let holder = try SocketHolder(of: ground.spawner)
        defer { holder.end() }

        kill(ground.spawner, SIGKILL)

        await ground.expectAnother()
    }

    @Test("a spawner that hangs is given up, and another takes its place", arguments: Builder.here)
    func givesUpSpawner(builder: Builder) async throws {
        var settings = builder.settings
        settings.buildWithin = .seconds(3)
        let ground = try await Ground(settings, "sleep MARK & echo begun; wait")

        kill(ground.spawner, SIGSTOP)

        // More than wait ready, so that one has to be built.
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    await #expect(throws: SandboxError.self) {
                        try await ground.sandbox.run(SandboxRun(command: ["sleep", "3600"])) { _, _ in }
                    }
                }
            }
        }
        await ground.expectAnother()
        #expect(HostProcess.marked(ground.mark).map(\.pid) == [])
    }

    /// Another process that has the spawner's end of its socket too, as a child has for a moment.
    private struct SocketHolder {
        private static let program = """
            import ctypes, os, sys, time
            libc = ctypes.CDLL(None, use_errno=True)
            # pidfd_getfd: the spawner's socket is its descriptor 3.
            found = libc.syscall(438, os.pidfd_open(int(sys.argv[1])), 3, 0)
            print("held" if found >= 0 else os.strerror(ctypes.get_errno()), end="", flush=True)
            time.sleep(600)
            """
        private let process: pid_t

        /// Not by Foundation: its Process reads beyond its list of descriptors, of which there are thousands
        /// here.
        init(of spawner: pid_t) throws {
            var ends: [Int32] = [-1, -1]
            guard pipe(&ends) == 0 else { throw POSIXError(.EMFILE) }
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            defer { close(ends[0]) }
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            defer { posix_spawn_file_actions_destroy(&actions) }
            posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
            let words = ["python3", "-c", Self.program, "\(spawner)"]
            let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
            defer { arguments.forEach { free($0) } }
            var child: pid_t = 0
            let error = posix_spawn(&child, "/usr/bin/python3", &actions, nil, arguments, environ)
            close(ends[1])
            guard error == 0 else { throw POSIXError(.ENOENT) }
            process = child
            var said = [UInt8](repeating: 0, count: 256)
            said.removeLast(said.count - max(0, read(ends[0], &said, said.count)))
            guard said == Array("held".utf8) else {
                end()
                throw POSIXError(.EPERM, userInfo: ["said": String(decoding: said, as: UTF8.self)])
            }
        }

        func end() {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
    }

    @Test("200 sleeping runs at once need no thread each", arguments: Builder.here)
    func waitsForMany(builder: Builder) async throws {
        let sandbox = try builder.sandbox
        let before = try Self.threads()

        try await withThrowingTaskGroup(of: SandboxOutcome.Ending.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    try await sandbox.run(SandboxRun(command: ["sleep", "1"])) { _, _ in }.ending
                }
            }
            var during = 0
            for try await ending in group {
                during = max(during, try Self.threads())
                #expect(ending == .exited(0))
            }
            #expect(during < before + 50)
        }
    }

    private static func threads() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
    }
}
