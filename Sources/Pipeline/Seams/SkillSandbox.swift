/// Runs one command behind walls: its own file tree, processes, network and limits.
///
/// Contract:
/// - The whole process tree is gone when `run` returns or throws, cancellation included; the workspace is
///   then
///   nobody's but the caller's and may be read.
/// - A command that exits with any status, dies by a signal, or meets a limit is an outcome, not an error. An
///   error means that the command was not run, or that the caller cancelled.
/// - Nothing is granted that `SandboxRun` does not name: no network, no file of the host but the system's
///   programs, no variable of the caller's environment, no open file.
/// - A wall that cannot be built is an error naming it (`.unavailable`), never a weaker run.
package protocol SkillSandbox: Sendable {
    /// Runs the command to its end.
    ///
    /// `output` gets each piece of the command's output as it arrives, in order for each stream, one call at
    /// a time, never beyond `limits.outputBytesPerStream`. It is called on a thread that serves every run, so
    /// it only hands the bytes on. Cancelling the calling task kills the tree and throws `.cancelled`.
    func run(
        _ run: SandboxRun,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome
}

package enum SandboxStream: String, Sendable, Hashable {
    case standardOutput = "stdout"
    case standardError = "stderr"
}

package struct SandboxError: Error, Hashable {
    package enum Kind: Sendable, Hashable {
        /// The machine lacks a layer of the sandbox; nothing was run. Mending the machine helps, trying again
        /// does not.
        case unavailable(layer: String)
        /// The machine is short of something for now (processes, memory, open files); nothing was run.
        case busy
        /// The run itself is wrong: no command, a NUL byte, a path that is not absolute, a missing folder.
        case invalid
        case cancelled
    }

    package let kind: Kind
    /// What failed, where, and what to do about it; for the log.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
