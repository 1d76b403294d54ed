import Foundation
import LinuxSandbox
import Pipeline
import Testing

/// Whatever a command leaves behind is gone when `run` returns; seen from the host, by a mark in the command
/// line.
@Suite("Nothing lingers")
struct LingerTests {
    static let survivors: [(name: String, script: String)] = [
        ("a background child", "sleep MARK & exit 0"),
        (
            "a double fork in a session of its own",
            "(setsid sleep MARK >/dev/null 2>&1 </dev/null &) & exit 0"
        ),
        ("one that ignores signals", "(trap '' TERM HUP INT QUIT; exec -a x sleep MARK) & exit 0"),
        ("a stopped child", "sleep MARK & kill -STOP $!; exit 0"),
        ("a stopped command", "kill -STOP $$; sleep MARK"),
        ("a command that never ends", "setsid sleep MARK & sleep MARK"),
        ("a fork bomb", "b() { b | b & }; sleep MARK & b; sleep 60"),
        ("a command that dies by a signal", "sleep MARK & kill -KILL $$"),
        ("a flood", "sleep MARK & yes"),
    ]

    @Test("when the run ends", arguments: survivors.map(\.name), Builder.here)
    func nothingSurvives(name: String, builder: Builder) async throws {
        let mark = "3600.\(UInt32.random(in: 1_000_000...9_999_999))"
        let script = try #require(Self.survivors.first { $0.name == name }).script
        var run = SandboxRun(command: ["bash", "-c", script.replacing("MARK", with: mark)])
        run.limits.wallClock = .milliseconds(700)

        _ = try await builder.sandbox.run(run) { _, _ in }

        #expect(HostProcess.marked(mark).map(\.pid) == [])
    }

    @Test("when the caller is cancelled", arguments: Builder.here)
    func nothingSurvivesCancellation(builder: Builder) async throws {
        let mark = "3600.\(UInt32.random(in: 1_000_000...9_999_999))"
        let sandbox = try builder.sandbox
        let begun = AsyncStream.makeStream(of: Void.self)
        let command = ["bash", "-c", "setsid sleep \(mark) & echo begun; wait"]
        let task = Task {
            // One that ends without a word ends the wait for it.
            defer { begun.continuation.finish() }
            return try await sandbox.run(SandboxRun(command: command)) { _, _ in begun.continuation.yield() }
        }
        for await _ in begun.stream { break }
        #expect(!HostProcess.marked(mark).isEmpty)

        task.cancel()

        await #expect(throws: SandboxError.self) { try await task.value }
        #expect(HostProcess.marked(mark).map(\.pid) == [])
    }

    @Test("cancellation before, while and after the sandbox is built leaves nothing", arguments: Builder.here)
    func cancelsAtAnyTime(builder: Builder) async throws {
        let mark = "3600.\(UInt32.random(in: 1_000_000...9_999_999))"
        let sandbox = try builder.sandbox

        var run = SandboxRun(command: ["sleep", mark])
        // Not before the cancellation, however busy the machine is.
        run.limits.wallClock = .seconds(600)

        await withTaskGroup(of: Void.self) { [run] group in
            for number in 0..<40 {
                group.addTask {
                    let task = Task {
                        try await sandbox.run(run) { _, _ in }
                    }
                    for _ in 0..<(number * number * 4) { await Task.yield() }
                    task.cancel()
                    await #expect(throws: SandboxError.self) { try await task.value }
                }
            }
        }

        #expect(HostProcess.marked(mark).map(\.pid) == [])
    }
}
