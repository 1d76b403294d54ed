import Foundation
import LinuxSandbox
import Pipeline
import Testing

/// A Python that waited does what a fresh one would, behind the same walls; `AttackTests` run in it as well.
@Suite("A Python that waits", .serialized)
struct WarmPythonTests {
    /// Once one was there: the first run wakes the pool, and a program that loads nothing finds what a
    /// waiting Python did.
    private func run(_ run: SandboxRun, _ builder: Builder) async throws -> SandboxOutcome {
        let sandbox = try builder.sandbox
        for _ in 0..<500 {
            let probe = try await sandbox.run(python("import sys; print('sqlite3' in sys.modules)")) { _, _ in
            }
            if probe.text == "True\n" { return try await sandbox.run(run) { _, _ in } }
        }
        throw POSIXError(.ETIMEDOUT)
    }

    private func python(_ code: String, _ arguments: [String] = []) -> SandboxRun {
        SandboxRun(command: ["python3", "-c", code] + arguments)
    }

    @Test("is used, once each, and never twice the same", arguments: Builder.warm)
    func isUsedOnce(builder: Builder) async throws {
        let code = "import sys, os; print('sqlite3' in sys.modules, id(object()), hash('a'), os.getpid())"
        var seen: Set<String> = []
        var warmRuns = 0
        for _ in 0..<500 where warmRuns < 5 {
            let outcome = try await builder.sandbox.run(python(code)) { _, _ in }
            #expect(outcome.succeeded, "\(outcome.text)")
            guard outcome.text.hasPrefix("True") else { continue }
            warmRuns += 1
            let words = outcome.text.split(separator: " ")
            #expect(seen.insert(String(words[2])).inserted, "a hash seed came twice: \(outcome.text)")
        }
        #expect(warmRuns == 5)
    }

    static let programs: [(name: String, code: String, arguments: [String])] = [
        ("arguments", "import sys; print(sys.argv, __name__, '__file__' in dir())", ["a b", "", "é"]),
        ("names", "x = 1\nprint(sorted(n for n in globals() if n[0] != '_'))", []),
        ("an exit", "import sys; print('x'); sys.exit(3)", []),
        ("an exit with words", "raise SystemExit('words')", []),
        ("an error", "def f():\n    return 1 / 0\nf()", []),
        ("a syntax error", "a b", []),
        ("a signal", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)", []),
        ("input", "import sys; print(sys.stdin.read().upper(), end='')", []),
        ("both streams", "import sys; print('o'); print('e', file=sys.stderr)", []),
        ("environment", "import os; print(sorted(os.environ.items()))", []),
        ("the folder", "import os; print(os.getcwd(), os.listdir('.'))", []),
        (
            "an import by a class",
            "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))", []
        ),
        ("a child", "import subprocess; print(subprocess.run(['id', '-u'], capture_output=True).stdout)", []),
        ("a pool", "import multiprocessing as m\nprint(m.Pool(2).map(abs, [-1, -2]))", []),
        (
            "threads", "import threading\nt = threading.Thread(target=print, args=(5,)); t.start(); t.join()",
            []
        ),
        (
            "limits",
            "import resource as r; print([r.getrlimit(l) for l in (r.RLIMIT_CPU, r.RLIMIT_DATA, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE, r.RLIMIT_CORE, r.RLIMIT_STACK)])",
            []
        ),
        ("open files", "import os; print(sorted(os.listdir('/proc/self/fd')))", []),
        (
            "walls",
            "print([l for l in open('/proc/self/status') if l[:3] in ('Cap', 'NoN', 'Uid', 'Gid', 'Gro')])",
            []
        ),
        (
            "namespaces",
            "print(open('/proc/self/uid_map').read().split()[::2], open('/proc/self/mountinfo').read().count('\\n'))",
            []
        ),
    ]

    @Test("behaves as a fresh one", arguments: programs.map(\.name), Builder.warm)
    func behavesAsFresh(name: String, builder: Builder) async throws {
        let program = try #require(Self.programs.first { $0.name == name })
        var run = python(program.code, program.arguments)
        run.input = Array("given\n".utf8)
        run.environment = ["ONE": "a=b", "TWO": ""]
        let fresh = try await (builder == .warmRoot ? Builder.root : .user).sandbox.run(run) { _, _ in }

        let warm = try await self.run(run, builder)

        #expect(warm.ending == fresh.ending)
        #expect(
            String(decoding: warm.standardOutput, as: UTF8.self)
                == String(decoding: fresh.standardOutput, as: UTF8.self)
        )
        #expect(
            String(decoding: warm.standardError, as: UTF8.self)
                == String(decoding: fresh.standardError, as: UTF8.self)
        )
    }

    @Test(
        "runs a skill's script with its workspace, and puts up the last walls itself",
        arguments: Builder.warm
    )
    func runsScripts(builder: Builder) async throws {
        let folders = Folders(builder)
        defer { folders.remove() }
        let (skill, workspace) = (try folders.make(), try folders.make())
        let script = """
            #!/usr/bin/env python3
            import sys, ctypes, helper
            open("kept", "w").write("by the script")
            call = ctypes.CDLL(None, use_errno=True).syscall
            print(sys.argv, __file__, helper.name)
            print(call(446, 0, 0), ctypes.get_errno(), call(317, 0, 0, 0), ctypes.get_errno())
            """
        try script.write(toFile: skill + "/run.py", atomically: false, encoding: .utf8)
        try "name = 'beside'".write(toFile: skill + "/helper.py", atomically: false, encoding: .utf8)
        chmod(skill, 0o755)
        chmod(skill + "/run.py", 0o755)
        var run = SandboxRun(command: ["/skills/one/run.py", "x"])
        run.mounts = [SandboxMount(host: skill, inside: "/skills/one")]
        run.workspace = workspace

        let outcome = try await self.run(run, builder)

        #expect(
            outcome.text == "['/skills/one/run.py', 'x'] /skills/one/run.py beside\n-1 38 -1 38\n",
            "\(outcome.text)"
        )
        #expect(try String(contentsOfFile: workspace + "/kept", encoding: .utf8) == "by the script")
    }

    @Test("holds nothing of the spawner's or of another's while it waits", arguments: Builder.warm)
    func holdsNothingOfOthers(builder: Builder) async throws {
        let mark = "31\(UInt32.random(in: 1_000_000...9_999_999))"
        let sandbox = try LinuxSandbox(builder.settings)
        let sleep = Task { try await sandbox.run(SandboxRun(command: ["sleep", mark])) { _, _ in } }
        defer { sleep.cancel() }

        let waiting = try await waiting(besides: mark)

        try #require(waiting.count >= 3)
        for process in waiting {
            let open = process.openFiles
            // Its interpreter's; where its request comes from and the interpreter's goes; the spawner's life.
            for (kind, count) in [("anon_inode:[pidfd]", 1), ("socket:", 2), ("pipe:", 1)] {
                #expect(open.count { $0.hasPrefix(kind) } == count, "\(open)")
            }
        }
    }

    /// The sandboxes in which a Python waits, of the spawner that runs the marked command.
    private func waiting(besides mark: String) async throws -> [HostProcess] {
        for _ in 0..<500 {
            try await Task.sleep(for: .milliseconds(20))
            guard let spawner = HostProcess.spawner(of: mark) else { continue }
            let all = HostProcess.all
            let homes = Set(all.filter { $0.name == "python3" }.map(\.parent))
            let waiting = all.filter { $0.parent == spawner && homes.contains($0.pid) }
            if waiting.count >= 3 { return waiting }
        }
        return []
    }
}
