import LinuxSandbox
import Pipeline
import Testing

@Suite("The benchmark", .serialized)
struct BenchmarkTests {
    @Test("measures a fresh sandbox beside its floor", arguments: Builder.here)
    func measures(builder: Builder) async throws {
        let measurement = try await SandboxBenchmark(runs: 20).cold(try builder.sandbox)

        #expect(measurement.ratio > 1)
        #expect(measurement.runs == 20)
    }
}
