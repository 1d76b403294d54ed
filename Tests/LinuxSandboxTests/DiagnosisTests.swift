import Foundation
import LinuxSandbox
import Pipeline
import Testing

@Suite("The diagnosis of the machine")
struct DiagnosisTests {
    @Test("finds every required layer here, and a command runs")
    func findsLayers() async {
        let findings = await SandboxDiagnosis.examine()

        #expect(findings.filter { $0.isRequired && !$0.isPresent } == [])
        #expect(findings.contains { $0.id == "sandbox.run" && $0.isPresent && $0.cure == nil })
        #expect(Set(findings.map(\.id)).count == findings.count)
    }

    @Test("a spawner that cannot start is an error that names it, not a weaker run")
    func namesWhatIsMissing() async throws {
        var settings = LinuxSandbox.Settings()
        settings.executable = "/bin/false"

        let findings = await SandboxDiagnosis.examine(settings)
        let error = await #expect(throws: SandboxError.self) {
            try await LinuxSandbox(settings).run(SandboxRun(command: ["true"])) { _, _ in }
        }

        #expect(findings.contains { $0.id == "sandbox.run" && !$0.isPresent && $0.cure != nil })
        #expect(error?.kind == .unavailable(layer: "spawner"))
    }

    @Test("where a run's control group cannot be made it is refused, unless layers may be missing")
    func refusesWithoutGroup() async throws {
        var settings = LinuxSandbox.Settings()
        settings.cgroups = CgroupControl(
            isUnified: false,
            bases: ["/proc/penstock-memory", "/proc/penstock-pids"],
            sharesProcessors: false
        )
        var lenient = settings
        lenient.isLenient = true

        let error = await #expect(throws: SandboxError.self) {
            try await LinuxSandbox(settings).run(SandboxRun(command: ["true"])) { _, _ in }
        }
        let outcome = try await LinuxSandbox(lenient).run(SandboxRun(command: ["true"])) { _, _ in }

        #expect(error?.kind == .unavailable(layer: "cgroup"))
        #expect(error?.detail.contains("/proc/penstock-memory") == true)
        #expect(outcome.succeeded)
    }

    @Test("the filter allows 187 system calls in a few hundred instructions")
    func countsCalls() throws {
        let filter = try SystemCallFilter()

        #expect(filter.allowedCount == 187)
        #expect(filter.program.count / 8 < 700)
    }
}
