package import Pipeline
import Synchronization

/// A sandbox whose commands are closures, looked up by program name; for tests of what calls a sandbox.
package final class FakeSandbox: SkillSandbox {
    /// Gets the run and a way to emit output; returns how the command ended.
    package typealias Program =
        @Sendable (SandboxRun, (SandboxStream, String) -> Void) async -> SandboxOutcome.Ending

    private let programs: [String: Program]
    private let seen = Mutex<[SandboxRun]>([])

    package init(_ programs: [String: Program]) {
        self.programs = programs
    }

    /// Every run asked for, in order.
    package var runs: [SandboxRun] { seen.withLock { $0 } }

    package func run(
        _ run: SandboxRun,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome {
        seen.withLock { $0.append(run) }
        guard let name = run.command.first, !name.isEmpty else {
            throw SandboxError(.invalid, "the command is empty: name a program")
        }
        let emitted = FakeOutput(cap: run.limits.outputBytesPerStream, forward: output)
        guard let program = programs[String(name.split(separator: "/").last ?? "")] else {
            emitted.emit(.standardError, "\(name): not found\n")
            return emitted.outcome(.exited(127))
        }
        let ending = await program(run) { stream, text in emitted.emit(stream, text) }
        if Task.isCancelled { throw SandboxError(.cancelled, "\(name): cancelled by the caller") }
        return emitted.outcome(ending)
    }
}

/// Collects and forwards what a fake command says, up to the cap.
private final class FakeOutput: Sendable {
    private let cap: Int
    private let forward: @Sendable (SandboxStream, [UInt8]) -> Void
    private let outcome = Mutex(SandboxOutcome(ending: .exited(0)))

    init(cap: Int, forward: @escaping @Sendable (SandboxStream, [UInt8]) -> Void) {
        self.cap = cap
        self.forward = forward
    }

    func emit(_ stream: SandboxStream, _ text: String) {
        let bytes = Array(text.utf8)
        let kept = outcome.withLock { outcome -> [UInt8] in
            switch stream {
            case .standardOutput:
                let kept = Array(bytes.prefix(cap - outcome.standardOutput.count))
                outcome.standardOutput += kept
                outcome.standardOutputTruncated = outcome.standardOutputTruncated || kept.count < bytes.count
                return kept
            case .standardError:
                let kept = Array(bytes.prefix(cap - outcome.standardError.count))
                outcome.standardError += kept
                outcome.standardErrorTruncated = outcome.standardErrorTruncated || kept.count < bytes.count
                return kept
            }
        }
        if !kept.isEmpty { forward(stream, kept) }
    }

    func outcome(_ ending: SandboxOutcome.Ending) -> SandboxOutcome {
        outcome.withLock { outcome in
            outcome.ending = ending
            if outcome.standardOutputTruncated || outcome.standardErrorTruncated {
                outcome.ending = .limit(.output)
            }
            return outcome
        }
    }
}
