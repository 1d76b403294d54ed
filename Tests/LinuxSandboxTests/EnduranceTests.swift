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
        let sandbox = try LinuxSandbox(builder.settings)
        let mark = "3600.\(UInt32.random(in: 1_000_000...9_999_999))"
        let begun = AsyncStream.makeStream(of: Void.self)
        let command = ["bash", "-c", "setsid sleep \(mark) & echo begun; wait"]
        let task = Task {
            try await sandbox.run(SandboxRun(command: command)) { _, _ in begun.continuation.yield() }
        }
        for await _ in begun.stream { break }
        let spawner = try #require(HostProcess.spawner(of: mark))

        kill(spawner, SIGKILL)

        let error = await #expect(throws: SandboxError.self) { try await task.value }
        #expect(error?.kind == .unavailable(layer: "spawner"))
        #expect(HostProcess.marked(mark).map(\.pid) == [])
        let next = try await sandbox.run(SandboxRun(command: ["echo", "again"])) { _, _ in }
        #expect(next.text == "again\n")
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
