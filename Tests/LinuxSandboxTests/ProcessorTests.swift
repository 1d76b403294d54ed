import Foundation
import LinuxSandbox
import Pipeline
import Synchronization
import Testing

@Suite("A run's share of the processors", .serialized)
struct ProcessorTests {
    /// Three busy processes for 2 s; says what they used of the time that passed.
    private static let busy = """
        import os, time
        print(flush=True)
        begin = time.monotonic()
        for i in range(3):
            if os.fork() == 0:
                while time.monotonic() < begin + 2: pass
                os._exit(0)
        for i in range(3): os.wait()
        used = os.times()
        print((used.children_user + used.children_system) / (time.monotonic() - begin))
        """

    /// What the processes used, and whether a group of ours had the run's share while it ran.
    private func share(_ settings: LinuxSandbox.Settings) async throws -> (used: Double, isInGroup: Bool) {
        var run = SandboxRun(command: ["python3", "-c", Self.busy])
        run.limits.processors = 0.1
        let sandbox = try LinuxSandbox(settings)
        let seen = Mutex(false)
        // Called while the run waits for its children, on the sandbox's thread, which no test holds up.
        let done = try await sandbox.run(run) { _, _ in
            let isInGroup = Self.groups().contains { Self.quota($0) == "10000" }
            seen.withLock { $0 = $0 || isInGroup }
        }
        let isInGroup = seen.withLock { $0 }
        #expect(done.succeeded, "\(done.text)")
        let used = try #require(Double(done.text.trimmingCharacters(in: .whitespacesAndNewlines)))
        return (used, isInGroup)
    }

    /// The groups of this process's pools in which somebody is.
    private static func groups() -> [String] {
        guard let base = CgroupControl.find()?.bases.last else { return [] }
        let own = "\(base)/penstock-\(getpid())"
        return names(in: own).flatMap { pool in names(in: "\(own)/\(pool)").map { "\(own)/\(pool)/\($0)" } }
            .filter { !processes($0).isEmpty }
    }

    private static func processes(_ group: String) -> [Substring] {
        text("\(group)/cgroup.procs").split(separator: "\n")
    }

    /// Microseconds of each 100,000.
    private static func quota(_ group: String) -> String? {
        let file = CgroupControl.find()?.isUnified == true ? "cpu.max" : "cpu.cfs_quota_us"
        return text("\(group)/\(file)").split(whereSeparator: \.isWhitespace).first.map(String.init)
    }

    // Groups come and go under the reader: what is gone has nothing in it.
    private static func names(in folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    // As above.
    private static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    @Test(
        "holds all of its processes together; without control groups it holds nobody",
        .enabled(
            if: CgroupControl.find()?.sharesProcessors == true,
            "NOT CHECKED: no control group here that divides processors"
        ),
        arguments: Builder.here
    )
    func holdsAllTogether(builder: Builder) async throws {
        var bare = builder.settings
        bare.cgroups = nil

        let held = try await share(builder.settings)
        let free = try await share(bare)

        // A slice begun in time may end late, on each processor; a busy machine only lessens the share,
        // that of the free one too, so that the two are not compared.
        #expect(held.used < 0.18)
        #expect(held.isInGroup)
        #expect(!free.isInGroup)
    }

    @Test(
        "is set where a sandbox made ahead waits already, in its control group",
        .enabled(
            if: CgroupControl.find()?.sharesProcessors == true,
            "NOT CHECKED: no control group here that divides processors"
        ),
        arguments: [0, 1]
    )
    func isSetAhead(pythons: Int) async throws {
        var settings = LinuxSandbox.Settings()
        settings.poolSize = 1 - pythons
        settings.pythonPoolSize = pythons
        let sandbox = try LinuxSandbox(settings)
        // A share that no other test has, to know the run's group by.
        var run = SandboxRun(command: ["python3", "-c", "import time; print(flush=True); time.sleep(0.1)"])
        run.limits.processors = 0.13

        let wasThere = Mutex(false)
        for _ in 0..<50 where !wasThere.withLock({ $0 }) {
            // Meanwhile the next one is made.
            try await Task.sleep(for: .milliseconds(200))
            let before = Set(Self.groups().flatMap(Self.processes))
            let outcome = try await sandbox.run(run) { _, _ in
                let own = Self.groups().filter { Self.quota($0) == "13000" }.flatMap(Self.processes)
                wasThere.withLock { $0 = $0 || own.contains { before.contains($0) } }
            }
            #expect(outcome.succeeded)
        }

        #expect(wasThere.withLock { $0 })
    }

    @Test(
        "is weighed beside the worker's",
        .enabled(
            if: CgroupControl.find()?.sharesProcessors == true,
            "NOT CHECKED: no control group here that divides processors"
        )
    )
    func isWeighed() async throws {
        let control = try #require(CgroupControl.find())
        let processors = ProcessInfo.processInfo.activeProcessorCount
        let file = control.isUnified ? ("cpu.weight", 50) : ("cpu.shares", 4_096 * processors)
        let pool = try #require(CgroupPool(control))
        let folder = try #require(control.bases.last)

        let weight = try withExtendedLifetime(pool) {
            try String(contentsOfFile: "\(folder)/penstock-\(getpid())/\(file.0)", encoding: .utf8)
        }

        #expect(Int(weight.dropLast()) == file.1)
    }
}
