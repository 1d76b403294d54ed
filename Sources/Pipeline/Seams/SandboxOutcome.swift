/// How a command in the sandbox ended, and what it said.
package struct SandboxOutcome: Sendable, Hashable {
    package enum Ending: Sendable, Hashable {
        case exited(Int32)
        case signalled(Int32)
        /// The sandbox ended the run because this limit was met.
        case limit(SandboxLimit)
    }

    package var ending: Ending
    /// The first `limits.outputBytesPerStream` bytes.
    package var standardOutput: [UInt8]
    package var standardError: [UInt8]
    package var standardOutputTruncated: Bool
    package var standardErrorTruncated: Bool
    /// From the start of the command until the last process was gone.
    package var duration: Duration
    /// As many processes as are allowed ran at a time: more were refused, or would have been. Looked at 20
    /// times a second. The ending is the command's own, for it may do with fewer.
    package var hasMetProcessLimit = false

    package init(
        ending: Ending,
        standardOutput: [UInt8] = [],
        standardError: [UInt8] = [],
        standardOutputTruncated: Bool = false,
        standardErrorTruncated: Bool = false,
        duration: Duration = .zero
    ) {
        self.ending = ending
        self.standardOutput = standardOutput
        self.standardError = standardError
        self.standardOutputTruncated = standardOutputTruncated
        self.standardErrorTruncated = standardErrorTruncated
        self.duration = duration
    }

    package var succeeded: Bool { ending == .exited(0) }
}

/// The limit that ended a run; the raw value is what people and journals read.
package enum SandboxLimit: String, Sendable, Hashable, CaseIterable {
    case wallClock = "wall-clock"
    case cpuTime = "cpu-time"
    case memory
    case processes
    case fileSize = "file-size"
    case output
    case workspace
}
