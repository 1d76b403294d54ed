import CLinux
import CSandbox
import Glibc
import Pipeline

/// All runs in flight and the spawner that builds them; touched by its own thread only.
///
/// A run goes: waiting (for the spawner to take its packet) → building → running (its pidfd is known) →
/// finished, when the pidfd says that the whole tree is gone.
final class SandboxEngine {
    private static let readBytes = 64 << 10

    private let loop: SandboxLoop
    private let settings: LinuxSandbox.Settings
    private let filters: SandboxFilters
    private let proxy: SandboxProxy
    private let poller: Int32
    private let nothing: Int32
    private var control: Int32 = -1
    private var spawner: Int32 = -1
    private var runs: [UInt64: ActiveRun] = [:]
    private var waiting: [ActiveRun] = []
    private var deadlines = Deadlines()
    private let groups: RunGroups
    private let dials: PortDials
    private var buffer = [UInt8](repeating: 0, count: readBytes)
    private var isStopped = false
    /// The spawner's newest answer, or its start.
    private var spawnerHeardAt: UInt64 = 0
    /// Longest time between the request and the command's start.
    private var buildNanoseconds: UInt64 { UInt64(settings.buildWithin / .nanoseconds(1)) }

    init(loop: SandboxLoop, settings: LinuxSandbox.Settings, filters: SandboxFilters, proxy: SandboxProxy) {
        self.loop = loop
        self.settings = settings
        self.filters = filters
        self.proxy = proxy
        poller = epoll_create1(Int32(EPOLL_CLOEXEC))
        nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
        dials = PortDials(poller: poller)
        groups = RunGroups(settings, poller: poller)
        watch(loop.wake, 0, .input, EPOLLIN.rawValue)
    }

    deinit {
        close(poller)
        close(nothing)
    }

    func serve() {
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        startSpawner()
        while !isStopped || !runs.isEmpty {
            let count = epoll_wait(poller, &events, Int32(events.count), timeout())
            for event in events.prefix(max(0, Int(count))) { handle(event) }
            endOverdue()
        }
        stopSpawner()
    }

    // MARK: Events

    /// Run 0 is ours: its input is the wake-up, its report the spawner's socket.
    private func watch(_ descriptor: Int32, _ id: UInt64, _ channel: ActiveRun.Channel, _ events: UInt32) {
        var event = epoll_event(events: events, data: epoll_data_t(u64: id << 3 | channel.rawValue))
        epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event)
    }

    private func handle(_ event: epoll_event) {
        let id = event.data.u64 >> 3
        guard let channel = ActiveRun.Channel(rawValue: event.data.u64 & 7) else { return }
        guard id != 0 else {
            if channel == .input { obey() } else { hearSpawner(event.events) }
            return
        }
        if channel == .dial { return schedule(id, dials.ready(id)) }
        guard let run = runs[id] else { return }
        switch channel {
        case .input: if run.writeInput() { closeChannel(&run.input) }
        case .output: if !read(run, .standardOutput, pieces: 1) { closeChannel(&run.standardOutput) }
        case .error: if !read(run, .standardError, pieces: 1) { closeChannel(&run.standardError) }
        case .report: hearReport(run)
        case .process:
            // Killed with its spawner, perhaps: a child that was just being made may hold its socket open.
            if hasSpawnerEnded { loseSpawner() }
            finish(run)
        case .door: openDoor(run)
        case .memory: run.kill(because: .memory)
        case .dial: break
        }
    }

    private func read(_ run: ActiveRun, _ stream: SandboxStream, pieces: Int) -> Bool {
        run.readOutput(stream, buffer: &buffer, pieces: pieces)
    }

    private func closeChannel(_ descriptor: inout Int32) {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    private func hearReport(_ run: ActiveRun) {
        if run.readReports() {
            deadlines.insert(run.id, due: run.startedAt.map { $0 + run.wallClockNanoseconds } ?? 0)
        }
        // At the end of the pipe only the pidfd still has something to say.
        if run.reportsEnded { closeChannel(&run.report) }
    }

    private func obey() {
        for command in loop.drain() {
            switch command {
            case .start(let run): start(run)
            case .cancel(let id): cancel(id)
            case .signal(let id, let number): runs[id]?.signal(number)
            case .dial(let id, let dial): begin(dial, to: id)
            case .stop:
                isStopped = true
                for run in Array(runs.values) { cancel(run.id) }
            }
        }
    }

    // MARK: Time

    private func timeout() -> Int32 {
        guard let next = deadlines.next else { return -1 }
        let now = MonotonicTime.now()
        return next <= now ? 0 : Int32(min((next - now) / 1_000_000 + 1, 60_000))
    }

    private func endOverdue() {
        let now = MonotonicTime.now()
        while let id = deadlines.popDue(now) {
            guard let run = runs[id] else {
                advanceDial(id)
                continue
            }
            if let startedAt = run.startedAt {
                // The entry may be the one for building, which the run left behind in time.
                if now >= startedAt + run.wallClockNanoseconds { run.kill(because: .wallClock) }
            } else {
                endUnbuilt(run, now)
            }
        }
    }

    private func endUnbuilt(_ run: ActiveRun, _ now: UInt64) {
        let within = settings.buildWithin
        run.fail(SandboxError(.busy, "the sandbox was not built within \(within): fewer runs at a time"))
        abandon(run)
        guard runs[run.id] != nil, run.process < 0 else { return }
        // It was asked and has not answered. Nor has it answered anybody: it hangs.
        guard now - spawnerHeardAt < buildNanoseconds else {
            kill(spawner, SIGKILL)
            return loseSpawner()
        }
        deadlines.insert(run.id, due: now + buildNanoseconds)
    }

    // MARK: Ports

    private func begin(_ dial: PortDial, to id: UInt64) {
        guard let run = runs[id] else {
            return dial.answer(.failure(SandboxError(.invalid, "the process has ended")))
        }
        guard run.run.ports.contains(dial.port) else {
            let error = SandboxError(
                .invalid,
                "port \(dial.port) was not granted: start the process with it among its ports"
            )
            return dial.answer(.failure(error))
        }
        let number = loop.nextID()
        schedule(number, dials.begin(number, run: id, dial))
    }

    private func advanceDial(_ id: UInt64) {
        let hasStarted = dials.run(of: id).flatMap { runs[$0]?.startedAt } != nil
        schedule(id, dials.advance(id, hasStarted: hasStarted, control: control))
    }

    private func schedule(_ id: UInt64, _ due: UInt64?) {
        if let due { deadlines.insert(id, due: due) }
    }

    // MARK: Runs

    private func start(_ run: ActiveRun) {
        if isStopped { run.cancel() }
        guard !run.isCancelled, openPipes(run) else { return run.finish() }
        runs[run.id] = run
        deadlines.insert(run.id, due: MonotonicTime.now() + buildNanoseconds)
        if control < 0 { startSpawner() }
        waiting.append(run)
        sendWaiting()
    }

    private func cancel(_ id: UInt64) {
        guard let run = runs[id] else { return }
        run.cancel()
        abandon(run)
    }

    /// Ends a run in whatever state: the tree if there is one, else the wait for it.
    private func abandon(_ run: ActiveRun) {
        run.kill(because: nil)
        guard run.process < 0, let index = waiting.firstIndex(where: { $0 === run }) else { return }
        waiting.remove(at: index)
        finish(run)
    }

    private func openPipes(_ run: ActiveRun) -> Bool {
        var ends: [Int32] = []
        for _ in 0..<(run.run.input.isEmpty ? 3 : 4) {
            var pair: [Int32] = [-1, -1]
            guard pipe2(&pair, O_CLOEXEC) == 0 else {
                let words = String(cString: strerror(errno))
                for descriptor in ends { close(descriptor) }
                run.fail(
                    SandboxError(.busy, "no pipes: \(words): fewer runs at a time, or a higher ulimit -n")
                )
                return false
            }
            ends += pair
        }
        (run.standardOutput, run.standardError, run.report) = (ends[0], ends[2], ends[4])
        if ends.count > 6 { run.input = ends[7] }
        run.passed = [ends.count > 6 ? ends[6] : -1, ends[1], ends[3], ends[5]]
        guard openExtras(run) else { return false }
        for descriptor in [run.standardOutput, run.standardError, run.report, run.input] where descriptor >= 0
        {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        }
        return true
    }

    /// What only some runs have: the socket that the door's listener comes over, the pipe with secrets, and
    /// the certificates to trust.
    private func openExtras(_ run: ActiveRun) -> Bool {
        if case .hosts = run.run.network {
            var pair: [Int32] = [-1, -1]
            let kind = CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue)
            guard socketpair(AF_UNIX, kind, 0, &pair) == 0 else {
                return failBusy(run, "no socket for its door")
            }
            run.doorway = pair[0]
            run.passed.append(pair[1])
        }
        return openSecrets(run) && openCertificates(run)
    }

    private func openSecrets(_ run: ActiveRun) -> Bool {
        guard !run.run.descriptorSecrets.isEmpty else { return true }
        var pair: [Int32] = [-1, -1]
        guard pipe2(&pair, O_CLOEXEC) == 0 else { return failBusy(run, "no pipe for its secrets") }
        // As the request was checked, they are fewer bytes than a pipe holds.
        let lines = Array(SandboxRequest.secretLines(run.run).utf8)
        let isWritten = write(pair[1], lines, lines.count) == lines.count
        close(pair[1])
        run.passed.append(pair[0])
        return isWritten || failBusy(run, "no room for its secrets")
    }

    private func openCertificates(_ run: ActiveRun) -> Bool {
        guard let interception = run.interception else { return true }
        guard let file = interception.openBundle() else { return failBusy(run, "no file for certificates") }
        run.passed.append(file)
        return true
    }

    private func failBusy(_ run: ActiveRun, _ what: String) -> Bool {
        run.fail(SandboxError(.busy, "\(what): \(String(cString: strerror(errno))): fewer runs at a time"))
        return false
    }

    private func openDoor(_ run: ActiveRun) {
        var byte: UInt8 = 0
        var listener: Int32 = -1
        let count = sandbox_receive(run.doorway, &byte, 1, &listener)
        closeChannel(&run.doorway)
        guard count == 1, listener >= 0, case .hosts(let hosts) = run.run.network else { return }
        run.door = proxy.open(listener, for: hosts, authority: run.interception?.authority)
    }

    /// The pidfd is readable, or there never was one: nothing of the run is left but bytes in its pipes.
    private func finish(_ run: ActiveRun) {
        let pieces = run.run.limits.outputBytesPerStream / Self.readBytes + 2
        if run.report >= 0 { _ = run.readReports() }
        if run.standardOutput >= 0 { _ = read(run, .standardOutput, pieces: pieces) }
        if run.standardError >= 0 { _ = read(run, .standardError, pieces: pieces) }
        // A command may have come to its end before its door was seen.
        if run.doorway >= 0 { openDoor(run) }
        groups.leave(run)
        // The spawner has the pidfd too: closing ours may not be the last, and then would not end its events.
        if run.process >= 0 { epoll_ctl(poller, EPOLL_CTL_DEL, run.process, nil) }
        runs[run.id] = nil
        dials.end(run: run.id)
        run.finish()
    }

    // MARK: Spawner

    private func sendWaiting() {
        var sent = 0
        for run in waiting {
            do throws(SandboxError) {
                try groups.enter(run)
            } catch {
                sent += 1
                run.fail(error)
                finish(run)
                continue
            }
            let input = [run.passed[0], run.standardInput, nothing].first { $0 >= 0 } ?? nothing
            let descriptors = [input] + run.passed[1...] + groups.entrances(of: run)
            let result = sandbox_send(
                control,
                run.request.packet,
                run.request.packet.count,
                descriptors,
                Int32(descriptors.count)
            )
            if result == Int(-EAGAIN) { break }
            if result == Int(-EPIPE) || result == Int(-ECONNRESET) { return loseSpawner() }
            sent += 1
            for descriptor in run.passed where descriptor >= 0 { close(descriptor) }
            run.passed = []
            closeChannel(&run.standardInput)
            if result < 0 {
                let words = String(cString: strerror(Int32(-result)))
                run.fail(SandboxError(.busy, "the spawner takes no request: \(words)"))
                finish(run)
                continue
            }
            run.isSent = true
            groups.sent(run)
            watchPipes(of: run)
        }
        waiting.removeFirst(sent)
        watchControl(forRoom: !waiting.isEmpty)
    }

    private func watchPipes(of run: ActiveRun) {
        watch(run.standardOutput, run.id, .output, EPOLLIN.rawValue)
        watch(run.standardError, run.id, .error, EPOLLIN.rawValue)
        watch(run.report, run.id, .report, EPOLLIN.rawValue)
        if run.doorway >= 0 { watch(run.doorway, run.id, .door, EPOLLIN.rawValue) }
        if run.input >= 0 { watch(run.input, run.id, .input, EPOLLOUT.rawValue) }
    }

    private func watchControl(forRoom: Bool) {
        let events = EPOLLIN.rawValue | (forRoom ? EPOLLOUT.rawValue : 0)
        var event = epoll_event(events: events, data: epoll_data_t(u64: ActiveRun.Channel.report.rawValue))
        if control >= 0 { epoll_ctl(poller, EPOLL_CTL_MOD, control, &event) }
    }

    private func startSpawner() {
        guard
            sandbox_spawner_start(settings.executable, settings.user ?? 0, &control, &spawner) == 0
        else {
            control = -1
            return
        }
        spawnerHeardAt = MonotonicTime.now()
        watch(control, 0, .report, EPOLLIN.rawValue)
        var hello = sandbox_hello()
        hello.message = SANDBOX_HELLO.rawValue
        hello.filter_bytes = UInt32(filters.plain.program.count)
        hello.network_filter_bytes = UInt32(filters.door.program.count)
        hello.waiting_filter_bytes = UInt32(filters.waiting.program.count)
        hello.ports_filter_bytes = UInt32(filters.ports.program.count)
        let interpreter = Array(WarmPython.program.utf8) + [0]
        hello.interpreter_bytes = UInt32(interpreter.count)
        hello.interpreter_pool_size = UInt32(clamping: settings.pythonPoolSize)
        hello.is_lenient = settings.isLenient ? 1 : 0
        hello.has_groups = groups.exist ? 1 : 0
        hello.pool_size = UInt32(clamping: settings.poolSize)
        hello.pool_idle_seconds = UInt32(clamping: max(1, min(settings.poolIdle.components.seconds, 86_400)))
        let packet =
            withUnsafeBytes(of: hello) { Array($0) } + filters.plain.program + filters.door.program
            + filters.waiting.program + filters.ports.program + interpreter
        _ = sandbox_send(control, packet, packet.count, nil, 0)
    }

    private func stopSpawner() {
        guard control >= 0 else { return }
        close(control)
        control = -1
        // It exits when its socket closes; it may not have been reaped by anyone else.
        var status: Int32 = 0
        waitpid(spawner, &status, 0)
    }

    private var hasSpawnerEnded: Bool {
        var info = siginfo_t()
        return control >= 0 && waitid(P_PID, id_t(spawner), &info, WEXITED | WNOHANG | WNOWAIT) == 0
            && info.si_signo == SIGCHLD
    }

    private func hearSpawner(_ events: UInt32) {
        if events & EPOLLOUT.rawValue != 0 { sendWaiting() }
        while control >= 0 {
            var reply = sandbox_reply()
            var pidfd: Int32 = -1
            let size = MemoryLayout<sandbox_reply>.size
            let count = withUnsafeMutableBytes(of: &reply) {
                sandbox_receive(control, $0.baseAddress, size, &pidfd)
            }
            if count == Int(-EAGAIN) || count == Int(-EINTR) { return }
            guard count == size else { return loseSpawner() }
            spawnerHeardAt = MonotonicTime.now()
            take(reply, pidfd)
        }
    }

    private func take(_ reply: sandbox_reply, _ pidfd: Int32) {
        if dials.take(reply.id, pidfd, errno: reply.error) { return advanceDial(reply.id) }
        if groups.hear(reply.id, errno: reply.error) { return }
        guard let run = runs[reply.id] else {
            if pidfd >= 0 { close(pidfd) }
            return
        }
        guard reply.error == 0, pidfd >= 0 else {
            run.fail(SandboxStep.error(step: reply.step, errno: reply.error, run: run.run))
            return finish(run)
        }
        run.process = pidfd
        run.deliverEarlySignals()
        watch(pidfd, run.id, .process, EPOLLIN.rawValue)
        if run.isDoomed { run.kill(because: nil) }
        // Last, so that the run does not wait for groups of runs to come.
        groups.lend(to: control, number: loop.nextID)
    }

    /// The spawner died, and every sandbox with it: those that had begun end by their pidfd.
    private func loseSpawner() {
        stopSpawner()
        waiting = []
        groups.loseSpawner()
        for run in Array(runs.values) {
            run.fail(
                SandboxError(
                    .unavailable(layer: "spawner"),
                    "the sandbox's spawner ended: look for an out-of-memory kill in dmesg; it is "
                        + "started again"
                )
            )
            if run.process < 0 { finish(run) }
        }
    }
}
