import Foundation
import LinuxSandbox
import Pipeline
import Synchronization
import Testing

/// A folder with the files of a v2 hierarchy, for machines whose controllers are all v1's: what is written is
/// what the kernel would be told; it holds nothing.
private struct UnifiedHierarchy {
    let path: String
    /// This process's.
    private let process = "penstock-\(getpid())"

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "penstock-cgroup-\(UUID())").path
        try put("cpuset cpu io memory pids\n", "cgroup.controllers")
        try put("", "cgroup.subtree_control")
        try put("", "\(process)/cgroup.subtree_control")
        try put("", "\(process)/cpu.weight")
        try put("", "all/cgroup.subtree_control")
        for group in 0..<4 {
            let memory = ["memory.max", "memory.swap.max", "memory.oom.group"]
            let files = memory + ["cgroup.procs", "pids.max", "cpu.max"]
            for file in files { try put("", "all/\(group)/\(file)") }
            try put("oom 0\noom_kill 0\n", "all/\(group)/memory.events")
        }
        // Which of this process's pools comes here is not known ahead: all numbers lead to one folder.
        for number in 1...2_000 {
            let name = "\(path)/\(process)/\(number)"
            try FileManager.default.createSymbolicLink(atPath: name, withDestinationPath: path + "/all")
        }
    }

    func remove() {
        // What stays behind is in the folder for temporary files.
        try? FileManager.default.removeItem(atPath: path)
    }

    func put(_ text: String, _ file: String) throws {
        let url = URL(fileURLWithPath: path).appending(path: file)
        let folder = url.deletingLastPathComponent()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try text.write(to: url, atomically: false, encoding: .utf8)
    }

    /// In the folder of all pools.
    func told(_ file: String) throws -> String {
        try String(contentsOfFile: "\(path)/all/\(file)", encoding: .utf8)
    }
}

@Suite("Control groups of v2, as far as files can show")
struct UnifiedCgroupTests {
    /// Each number has at least as many digits as the standard limit before it: these files, unlike the
    /// kernel's, keep what is not written over.
    private static let limits = {
        var limits = SandboxLimits.standard
        (limits.memoryBytes, limits.processes, limits.processors) = (1 << 30, 1_000, 1.5)
        return limits
    }()

    private func run(
        _ hierarchy: UnifiedHierarchy,
        _ script: String,
        poolSize: Int,
        output: @escaping @Sendable () -> Void = {}
    ) async throws -> SandboxOutcome {
        var settings = LinuxSandbox.Settings()
        let control: CgroupControl = try #require(CgroupControl(unified: hierarchy.path))
        #expect(control.sharesProcessors)
        settings.cgroups = control
        settings.poolSize = poolSize
        var run = SandboxRun(command: ["bash", "-c", script])
        run.limits = Self.limits
        return try await LinuxSandbox(settings).run(run) { _, _ in output() }
    }

    @Test("a run is in a group that was told its limits", arguments: [0, 1])
    func tellsLimits(poolSize: Int) async throws {
        let hierarchy = try UnifiedHierarchy()
        defer { hierarchy.remove() }

        let outcome = try await run(hierarchy, "true", poolSize: poolSize)

        #expect(outcome.succeeded)
        for folder in [".", "../penstock-\(getpid())"] {
            #expect(try hierarchy.told("\(folder)/cgroup.subtree_control") == "+memory +pids +cpu")
        }
        #expect(try hierarchy.told("../penstock-\(getpid())/cpu.weight") == "50")
        #expect(try hierarchy.told("0/memory.max") == "\(1 << 30)")
        #expect(try hierarchy.told("0/memory.swap.max") == "0")
        #expect(try hierarchy.told("0/memory.oom.group") == "1")
        #expect(try hierarchy.told("0/pids.max") == "1002")
        #expect(try hierarchy.told("0/cpu.max") == "150000 100000")
        // As the kernel takes it: whoever writes.
        #expect(try hierarchy.told("0/cgroup.procs") == "0")
    }

    @Test(
        "killed, it met its memory's limit if the kernel says so, and else was killed",
        arguments: [true, false]
    )
    func tellsOutOfMemory(isCounted: Bool) async throws {
        let hierarchy = try UnifiedHierarchy()
        defer { hierarchy.remove() }
        let isWritten = Mutex(false)

        let outcome = try await run(hierarchy, "echo here; sleep 0.2; kill -9 $$", poolSize: 0) {
            let events = "oom 1\noom_kill \(isCounted ? 1 : 0)\n"
            // A failure shows in the expectation below.
            isWritten.withLock { $0 = (try? hierarchy.put(events, "all/0/memory.events")) != nil }
        }

        #expect(isWritten.withLock { $0 })
        #expect(outcome.ending == (isCounted ? .limit(.memory) : .signalled(9)))
    }

    @Test("a folder without the controllers is none", arguments: ["cpu memory", "cpu pids", ""])
    func needsControllers(controllers: String) throws {
        let hierarchy = try UnifiedHierarchy()
        defer { hierarchy.remove() }
        try hierarchy.put(controllers, "cgroup.controllers")

        #expect(CgroupControl(unified: hierarchy.path) == nil)
    }
}
