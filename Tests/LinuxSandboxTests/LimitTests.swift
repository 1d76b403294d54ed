import Foundation
import LinuxSandbox
import Pipeline
import Testing

@Suite("Each limit ends the run and is named")
struct LimitTests {
    struct Excess: Sendable {
        let limit: SandboxLimit
        let name: String
        let script: String
    }

    static let excesses = [
        Excess(limit: .wallClock, name: "sleeping", script: "sleep 60"),
        Excess(limit: .wallClock, name: "stopped", script: "kill -STOP $$"),
        Excess(limit: .cpuTime, name: "a busy loop", script: "while :; do :; done"),
        Excess(
            limit: .cpuTime,
            name: "a busy loop that ignores the signal",
            script: "trap '' XCPU; while :; do :; done"
        ),
        Excess(
            limit: .memory,
            name: "memory of many processes",
            script:
                "for i in 1 2 3 4 5 6; do python3 -c 'import time; x = b\"x\" * (40 << 20); time.sleep(60)' & done; wait"
        ),
        Excess(
            limit: .memory,
            name: "memory of the command's children, in time",
            script: "for i in 1 2 3 4; do (x=$(head -c 45M /dev/zero | tr '\\0' x); sleep 60) & done; wait"
        ),
        Excess(limit: .fileSize, name: "a large file", script: "exec head -c 20M /dev/zero >/work/large"),
        Excess(
            limit: .workspace,
            name: "bytes in the workspace",
            script: "for i in 1 2 3 4 5 6; do head -c 9M /dev/zero >f$i; done; sleep 60"
        ),
        Excess(
            limit: .workspace,
            name: "entries deep in the workspace",
            script: "mkdir -p a/b; for i in {1..700}; do : >a/b/$i; done; sleep 60"
        ),
        Excess(limit: .output, name: "output", script: "exec yes"),
        Excess(limit: .output, name: "errors", script: "exec yes >&2"),
    ]

    @Test("limits", arguments: excesses.map(\.name), Builder.here)
    func endsTheRun(name: String, builder: Builder) async throws {
        let excess = try #require(Self.excesses.first { $0.name == name })
        var run = SandboxRun(command: ["bash", "-c", excess.script])
        run.limits = SandboxLimits(
            wallClock: .seconds(excess.limit == .wallClock ? 1 : 55),
            cpuTime: .seconds(1),
            memoryBytes: 128 << 20,
            processes: 32,
            openFiles: 64,
            fileBytes: 10 << 20,
            temporaryBytes: 32 << 20,
            outputBytesPerStream: 100_000,
            workspaceBytes: 30 << 20,
            workspaceEntries: 500
        )
        let folders = Folders(builder)
        defer { folders.remove() }
        if excess.limit == .workspace { run.workspace = try folders.make() }

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        #expect(outcome.ending == .limit(excess.limit), "\(outcome.text.prefix(1000))")
        // Each other limit is met in seconds, and the run must not outlive it by sleeping.
        if excess.limit != .wallClock { #expect(outcome.duration < .seconds(50)) }
    }

    @Test("the limit of processes is named beside the command's own end", arguments: Builder.here)
    func namesProcessLimit(builder: Builder) async throws {
        let script =
            "for i in {1..30}; do sleep 5 & done 2>/dev/null; sleep 0.5 || true; kill $(jobs -p); exit 3"
        var run = SandboxRun(command: ["bash", "-c", script])
        run.limits.processes = 8
        let modest = SandboxRun(command: ["bash", "-c", "sleep 0.2 & sleep 0.2; exit 3"])

        let outcome = try await builder.sandbox.run(run) { _, _ in }
        let other = try await builder.sandbox.run(modest) { _, _ in }

        #expect(outcome.hasMetProcessLimit, "\(outcome)")
        #expect(other.ending == .exited(3) && !other.hasMetProcessLimit)
    }

    @Test("more of what is refused, not ended: processes, files, space", arguments: Builder.here)
    func refusesMore(builder: Builder) async throws {
        let script = """
            import os, sys
            made = 0
            try:
                for i in range(100):
                    if os.fork() == 0: os.pause() if hasattr(os, 'pause') else __import__('signal').pause()
                    made += 1
            except OSError: pass
            print(made)
            files = []
            try:
                for i in range(200): files.append(os.open('/dev/null', 0))
            except OSError: pass
            print(len(files))
            for f in files: os.close(f)
            size = 0
            try:
                with open('/tmp/a', 'wb', 0) as f, open('/tmp/b', 'wb', 0) as g:
                    for i in range(200): size += f.write(bytes(1 << 19)) + g.write(bytes(1 << 19))
            except OSError: pass
            print(size)
            """
        var run = SandboxRun(command: ["python3", "-c", script])
        run.limits.processes = 10
        run.limits.openFiles = 50
        run.limits.temporaryBytes = 8 << 20

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        let numbers = outcome.text.split(separator: "\n").compactMap { Int($0) }
        #expect(outcome.succeeded, "\(outcome.text)")
        try #require(numbers.count == 3)
        // The command itself is one of ten.
        #expect(numbers[0] == 9)
        #expect(numbers[1] >= 40 && numbers[1] < 50)
        #expect(numbers[2] <= 8 << 20 && numbers[2] > 7 << 20)
    }
}
