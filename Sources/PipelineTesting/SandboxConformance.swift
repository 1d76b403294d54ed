package import Pipeline
import Synchronization

/// What every `SkillSandbox` must do; each check throws a `ConformanceFailure` that says what went wrong.
package struct SandboxConformance: Sendable {
    /// Makes an empty folder that the sandbox may use as a workspace.
    package typealias MakeFolder = @Sendable () throws -> String

    private let sandbox: any SkillSandbox
    private let makeFolder: MakeFolder

    package init(_ sandbox: any SkillSandbox, makeFolder: @escaping MakeFolder) {
        self.sandbox = sandbox
        self.makeFolder = makeFolder
    }

    package static let checks: [(name: String, check: @Sendable (Self) async throws -> Void)] = [
        ("output and status come back", { try await $0.returnsOutputAndStatus() }),
        ("output is streamed in order", { try await $0.streamsOutput() }),
        ("input reaches the command", { try await $0.passesInput() }),
        ("arguments and variables arrive unchanged", { try await $0.passesArguments() }),
        ("a signal is told apart from a status", { try await $0.tellsSignals() }),
        ("a program that is not there exits 127", { try await $0.reportsMissingProgram() }),
        ("a command that runs too long is ended", { try await $0.endsAtTheDeadline() }),
        ("output beyond the cap ends the run", { try await $0.capsOutput() }),
        ("cancellation ends the tree and throws", { try await $0.cancels() }),
        ("files written to the workspace stay", { try await $0.keepsWorkspace() }),
        ("a wrong run is refused", { try await $0.refusesWrongRuns() }),
        ("many runs at once keep apart", { try await $0.runsManyAtOnce() }),
    ]

    private func bash(_ script: String, _ change: (inout SandboxRun) -> Void = { _ in }) -> SandboxRun {
        var run = SandboxRun(command: ["bash", "-c", script])
        change(&run)
        return run
    }

    private func run(_ run: SandboxRun) async throws -> SandboxOutcome {
        try await sandbox.run(run) { _, _ in }
    }

    private func expect(_ condition: Bool, _ what: String, _ outcome: SandboxOutcome? = nil) throws {
        guard !condition else { return }
        let said = outcome.map { outcome in
            let text = String(
                decoding: (outcome.standardOutput + outcome.standardError).prefix(2000),
                as: UTF8.self
            )
            return ": \(outcome.ending), \(text)"
        }
        throw ConformanceFailure(what + (said ?? ""))
    }

    private func returnsOutputAndStatus() async throws {
        let outcome = try await run(bash("echo out; echo err >&2; exit 7"))
        try expect(outcome.ending == .exited(7), "status 7 expected", outcome)
        try expect(outcome.standardOutput == Array("out\n".utf8), "standard output differs", outcome)
        try expect(outcome.standardError == Array("err\n".utf8), "standard error differs", outcome)
        try expect(outcome.duration > .zero, "a run takes time", outcome)
    }

    private func streamsOutput() async throws {
        let pieces = Mutex<[UInt8]>([])
        let outcome = try await sandbox.run(bash("for i in {1..2000}; do echo $i; done")) { stream, bytes in
            if stream == .standardOutput { pieces.withLock { $0 += bytes } }
        }
        let expected = (1...2000).map { "\($0)\n" }.joined()
        try expect(pieces.withLock { $0 } == Array(expected.utf8), "the stream differs", outcome)
        try expect(outcome.standardOutput == Array(expected.utf8), "the whole differs", outcome)
    }

    private func passesInput() async throws {
        let input = [UInt8](repeating: 0x61, count: 300_000)
        let outcome = try await run(bash("wc -c") { $0.input = input })
        try expect(outcome.ending == .exited(0), "wc failed", outcome)
        try expect(
            String(decoding: outcome.standardOutput, as: UTF8.self).contains("300000"),
            "input lost",
            outcome
        )
        let unread = try await run(bash("exit 3") { $0.input = input })
        try expect(unread.ending == .exited(3), "a command need not read its input", unread)
    }

    private func passesArguments() async throws {
        var run = SandboxRun(command: [
            "bash", "-c", "printf '%s|' \"$@\" \"$X\"", "bash", "a b", "", "\"é'\n$HOME",
        ])
        run.environment["X"] = "x=y z"
        let outcome = try await self.run(run)
        try expect(
            outcome.standardOutput == Array("a b||\"é'\n$HOME|x=y z|".utf8),
            "arguments differ",
            outcome
        )
    }

    private func tellsSignals() async throws {
        let outcome = try await run(bash("kill -TERM $$; sleep 5"))
        try expect(outcome.ending == .signalled(15), "signal 15 expected", outcome)
    }

    private func reportsMissingProgram() async throws {
        let outcome = try await run(SandboxRun(command: ["no-such-program-here"]))
        try expect(outcome.ending == .exited(127), "status 127 expected", outcome)
        try expect(!outcome.standardError.isEmpty, "standard error names the program", outcome)
    }

    private func endsAtTheDeadline() async throws {
        let outcome = try await run(
            bash("trap '' TERM INT HUP; echo begun; while :; do sleep 60; done") {
                $0.limits.wallClock = .seconds(2)
            }
        )
        try expect(outcome.ending == .limit(.wallClock), "the wall clock ends it", outcome)
        try expect(outcome.standardOutput == Array("begun\n".utf8), "what was said before is kept", outcome)
        try expect(outcome.duration >= .seconds(2), "not before its time", outcome)
    }

    private func capsOutput() async throws {
        let seen = Mutex(0)
        let flood = bash("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done") {
            $0.limits.outputBytesPerStream = 10_000
        }
        let outcome = try await sandbox.run(flood) { _, bytes in seen.withLock { $0 += bytes.count } }
        try expect(outcome.ending == .limit(.output), "the flood is ended", outcome)
        try expect(outcome.standardOutput.count == 10_000, "the cap is exact", outcome)
        try expect(outcome.standardOutputTruncated && !outcome.standardErrorTruncated, "and told", outcome)
        try expect(seen.withLock { $0 } == 10_000, "the stream is capped too", outcome)
    }

    private func cancels() async throws {
        let begun = AsyncStream.makeStream(of: Void.self)
        let run = bash("echo begun; sleep 1000") { $0.limits.wallClock = .seconds(600) }
        let task = Task { [sandbox] in
            do throws(SandboxError) {
                _ = try await sandbox.run(run) { _, _ in begun.continuation.yield() }
                return nil as SandboxError?
            } catch {
                return error
            }
        }
        for await _ in begun.stream { break }
        task.cancel()
        let error = await task.value
        try expect(error?.kind == .cancelled, "cancelled expected, got \(String(describing: error))")
    }

    private func keepsWorkspace() async throws {
        let folder = try makeFolder()
        let written = try await run(bash("echo kept > note; mkdir -p a/b; pwd") { $0.workspace = folder })
        try expect(written.succeeded, "the workspace can be written", written)
        try expect(written.standardOutput == Array("/work\n".utf8), "it is /work", written)
        let read = try await run(bash("cat note; test -d a/b") { $0.workspace = folder })
        try expect(read.succeeded && read.standardOutput == Array("kept\n".utf8), "and read again", read)
    }

    private func refusesWrongRuns() async throws {
        let wrong: [(String, SandboxRun)] = [
            ("no command", SandboxRun(command: [])),
            ("an empty program", SandboxRun(command: [""])),
            ("a NUL byte", bash("a\0b")),
            ("a relative folder", bash("true") { $0.workingDirectory = "work" }),
            ("a missing workspace", bash("true") { $0.workspace = "/no/such/folder" }),
            (
                "a missing mount",
                bash("true") { $0.mounts = [SandboxMount(host: "/no/such", inside: "/skills/a")] }
            ),
            (
                "a mount over the system",
                bash("true") { $0.mounts = [SandboxMount(host: "/tmp", inside: "/usr/x")] }
            ),
            (
                "a mount that climbs",
                bash("true") { $0.mounts = [SandboxMount(host: "/tmp", inside: "/skills/../usr")] }
            ),
            ("a limit of nothing", bash("true") { $0.limits.processes = 0 }),
            ("a variable with =", bash("true") { $0.environment = ["a=b": "c"] }),
        ]
        for (what, run) in wrong {
            do throws(SandboxError) {
                let outcome = try await sandbox.run(run) { _, _ in }
                throw SandboxError(.busy, "it ran: \(outcome.ending)")
            } catch {
                try expect(error.kind == .invalid, "\(what): invalid expected, got \(error)")
            }
        }
    }

    private func runsManyAtOnce() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 {
                group.addTask {
                    let outcome = try await run(bash("echo \(number) > /tmp/n; cat /tmp/n; exit \(number)"))
                    try expect(outcome.ending == .exited(Int32(number)), "status of run \(number)", outcome)
                    try expect(
                        outcome.standardOutput == Array("\(number)\n".utf8),
                        "output of \(number)",
                        outcome
                    )
                }
            }
            try await group.waitForAll()
        }
    }
}
