import CSandbox
import Glibc
import Pipeline
import Synchronization

/// One run from its request to its end: its pipes, what came out of them, and why it ends.
// Safe: its maker hands it to the loop's inbox and forgets it; from then on only the loop's thread touches
// it.
final class ActiveRun: @unchecked Sendable {
    enum Channel: UInt64 {
        case input, output, error, report, process, door, dial, memory
    }

    /// Set before the loop is told, so that a cancellation that overtakes the start is not lost.
    final class Cancellation: Sendable {
        let isAsked = Atomic(false)
    }

    let id: UInt64
    let run: SandboxRun
    var request: SandboxRequest
    private let cancellation: Cancellation
    private let output: @Sendable (SandboxStream, [UInt8]) -> Void
    private let finished: @Sendable (Result<SandboxOutcome, SandboxError>) -> Void

    /// Our ends, and the pidfd; -1 when closed.
    var input: Int32 = -1
    var standardOutput: Int32 = -1
    var standardError: Int32 = -1
    var report: Int32 = -1
    var process: Int32 = -1
    /// Where the listener of the sandbox's door comes from, until it came.
    var doorway: Int32 = -1
    var door: ProxyDoor?
    /// The sandbox's ends, until they are sent.
    var passed: [Int32] = []
    /// The spawner has the request.
    var isSent = false
    /// A pipe of the caller's that the command reads, or -1.
    var standardInput: Int32 = -1
    var interception: TLSInterception?
    var group: CgroupPool.Group?
    /// Its number where the spawner has it already, with a sandbox that waits in it; else 0.
    var lentGroup: UInt64 = 0
    /// The kernel killed one of the processes because all together met the memory limit.
    var isOutOfMemory = false

    var isCancelled: Bool { cancellation.isAsked.load(ordering: .acquiring) }
    private var inputWritten = 0
    private var earlySignals: [Int32] = []
    private var collected = SandboxOutcome(ending: .signalled(SIGKILL))
    private var limit: SandboxLimit?
    private var failure: SandboxError?
    private var ended: sandbox_report?
    private(set) var startedAt: UInt64?
    private(set) var reportsEnded = false

    var isDoomed: Bool { isCancelled || failure != nil || limit != nil }

    var wallClockNanoseconds: UInt64 {
        let parts = run.limits.wallClock.components
        let seconds = UInt64(clamping: min(parts.seconds, 1_000_000_000))
        return seconds * 1_000_000_000 + UInt64(clamping: parts.attoseconds / 1_000_000_000)
    }

    init(
        id: UInt64,
        run: SandboxRun,
        request: SandboxRequest,
        cancellation: Cancellation,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void,
        finished: @escaping @Sendable (Result<SandboxOutcome, SandboxError>) -> Void
    ) {
        self.id = id
        self.run = run
        self.request = request
        self.cancellation = cancellation
        self.output = output
        self.finished = finished
    }

    /// Ends the whole tree; what it was for shows in the outcome. The first reason wins.
    func kill(because limit: SandboxLimit?) {
        if self.limit == nil, ended == nil { self.limit = limit }
        if process >= 0 { _ = sandbox_signal(process, SIGKILL) }
    }

    /// Pid 1 passes it on. One that comes before the command has started waits for it.
    func signal(_ number: Int32) {
        guard process >= 0, startedAt != nil || number == SIGKILL else {
            return earlySignals.append(number)
        }
        _ = sandbox_signal(process, number)
    }

    /// Once the command has started and its pidfd is known, whichever comes last.
    func deliverEarlySignals() {
        let early = earlySignals
        earlySignals = []
        for number in early { signal(number) }
    }

    func cancel() { cancellation.isAsked.store(true, ordering: .releasing) }

    func fail(_ error: SandboxError) {
        if failure == nil { failure = error }
    }

    /// Writes what the pipe takes; true when there is no more to write.
    func writeInput() -> Bool {
        while inputWritten < run.input.count {
            let count = run.input[inputWritten...].withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
            if count < 0 { return errno != EAGAIN && errno != EINTR }
            inputWritten += count
        }
        return true
    }

    /// Reads what there is, at most `pieces` times the buffer; false at the end of the stream.
    func readOutput(_ stream: SandboxStream, buffer: inout [UInt8], pieces: Int) -> Bool {
        let descriptor = stream == .standardOutput ? standardOutput : standardError
        for _ in 0..<pieces {
            let count = read(descriptor, &buffer, buffer.count)
            if count == 0 { return false }
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            take(buffer[..<count], from: stream)
        }
        return true
    }

    private func take(_ bytes: ArraySlice<UInt8>, from stream: SandboxStream) {
        let known = stream == .standardOutput ? collected.standardOutput : collected.standardError
        let kept = Array(bytes.prefix(run.limits.outputBytesPerStream - known.count))
        let isTruncated = kept.count < bytes.count
        switch stream {
        case .standardOutput:
            collected.standardOutput += kept
            if isTruncated { collected.standardOutputTruncated = true }
        case .standardError:
            collected.standardError += kept
            if isTruncated { collected.standardErrorTruncated = true }
        }
        if !kept.isEmpty { output(stream, kept) }
        if isTruncated { kill(because: .output) }
    }

    /// Reads the reports there are; true when the command has just started.
    func readReports() -> Bool {
        var isStarting = false
        while true {
            var report = sandbox_report()
            let count = withUnsafeMutableBytes(of: &report) { read(self.report, $0.baseAddress, $0.count) }
            guard count == MemoryLayout<sandbox_report>.size else {
                reportsEnded = count == 0
                return isStarting
            }
            switch sandbox_report_kind(report.kind) {
            case SANDBOX_REPORT_STARTED:
                startedAt = MonotonicTime.now()
                isStarting = true
                deliverEarlySignals()
            case SANDBOX_REPORT_FAILED: takeFailure(report)
            default: ended = report
            }
        }
    }

    private func takeFailure(_ report: sandbox_report) {
        guard sandbox_step(report.step) == SANDBOX_STEP_EXEC else {
            return fail(SandboxStep.error(step: report.step, errno: report.value, run: run))
        }
        let isMissing = report.value == ENOENT || report.value == ENOTDIR
        let words = isMissing ? "not found in the sandbox" : String(cString: strerror(report.value))
        take(Array("\(run.command[0]): \(words)\n".utf8)[...], from: .standardError)
        var ended = sandbox_report()
        ended.value = (isMissing ? 127 : 126) << 8
        self.ended = ended
    }

    /// Closes everything and tells the caller. The tree is gone, or never was. What went through the door is
    /// told to the audit before.
    func finish() {
        guard let door else { return close() }
        self.door = nil
        door.close { self.close() }
    }

    private func close() {
        let own = [input, standardInput, standardOutput, standardError, report, process, doorway]
        for descriptor in own + passed where descriptor >= 0 {
            Glibc.close(descriptor)
        }
        finished(result())
    }

    private func result() -> Result<SandboxOutcome, SandboxError> {
        if isCancelled {
            return .failure(SandboxError(.cancelled, "\(run.command[0]): cancelled by the caller"))
        }
        if let failure { return .failure(failure) }
        collected.duration = startedAt.map { .nanoseconds(Int64(MonotonicTime.now() - $0)) } ?? .zero
        collected.ending = ending()
        if ended?.has_met_processes == 1 { collected.hasMetProcessLimit = true }
        return .success(collected)
    }

    private func ending() -> SandboxOutcome.Ending {
        if isOutOfMemory { return .limit(.memory) }
        if let limit { return .limit(limit) }
        guard let ended else { return .signalled(SIGKILL) }
        switch sandbox_ended_by(ended.step) {
        case SANDBOX_ENDED_MEMORY: return .limit(.memory)
        case SANDBOX_ENDED_WORKSPACE: return .limit(.workspace)
        default: break
        }
        let signal = ended.value & 0x7F
        guard signal != 0 else { return .exited((ended.value >> 8) & 0xFF) }
        let cpuLimit = UInt64(max(0, run.limits.cpuTime / .microseconds(1)))
        switch signal {
        case SIGXCPU: return .limit(.cpuTime)
        case SIGKILL where ended.cpu_microseconds >= cpuLimit: return .limit(.cpuTime)
        case SIGXFSZ: return .limit(.fileSize)
        default: return .signalled(signal)
        }
    }
}

/// The kernel's clock that only goes forward, in nanoseconds.
enum MonotonicTime {
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
