import Foundation
import LinuxSandbox
import Pipeline
import Testing

@Suite("A run's share of the processors", .serialized)
struct ProcessorTests {
    /// Three busy processes for 2 s; says what they used of the time that passed.
    private static let busy = """
        import os, time
        begin = time.monotonic()
        for i in range(3):
            if os.fork() == 0:
                while time.monotonic() < begin + 2: pass
                os._exit(0)
        for i in range(3): os.wait()
        used = os.times()
        print((used.children_user + used.children_system) / (time.monotonic() - begin))
        """

    private func share(_ settings: LinuxSandbox.Settings) async throws -> Double {
        var run = SandboxRun(command: ["python3", "-c", Self.busy])
        run.limits.processors = 0.1
        let outcome = try await LinuxSandbox(settings).run(run) { _, _ in }
        #expect(outcome.succeeded, "\(outcome.text)")
        return try #require(Double(outcome.text.trimmingCharacters(in: .whitespacesAndNewlines)))
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

        // A slice begun in time may end late, on each processor; a busy machine only lessens the share.
        #expect(held < 0.18)
        #expect(free > held)
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

        let weights = try withExtendedLifetime(pool) {
            try FileManager.default.contentsOfDirectory(atPath: folder)
                .filter { $0.hasPrefix("penstock-\(getpid())-") }
                .map { try String(contentsOfFile: "\(folder)/\($0)/\(file.0)", encoding: .utf8) }
        }

        #expect(!weights.isEmpty)
        #expect(weights.allSatisfy { Int($0.dropLast()) == file.1 })
    }
}
