import Synchronization
import Telemetry

/// Runs a stage on the records of a group's topics: owns the consumer, keeps order per key, commits outputs
/// with progress.
///
/// One loop decides; everything that waits (the consumer, the stage, the commit) runs beside it and reports
/// to it.
package final class Runner: Sendable {
    package struct Settings: Sendable {
        package var limits: Dispatch.Limits
        /// How long records in flight may take to finish when the runner stops.
        package var stopWithin: Duration
        /// How long they may take when the group wants a partition back.
        package var revokeWithin: Duration

        package init(limits: Dispatch.Limits, stopWithin: Duration, revokeWithin: Duration) {
            self.limits = limits
            self.stopWithin = stopWithin
            self.revokeWithin = revokeWithin
        }
    }

    private enum Signal: Sendable {
        case event(ConsumerEvent)
        case handled(Dispatch.Work, [NewRecord]?)
        case committed(CommitResult)
        /// Another took this member's place, or the log was closed.
        case out(EventLogError)
        case retryCommit
        case revokeTimedOut([Assignment])
        case stop
        case stopTimedOut
    }

    /// What became of the completions of one commit: each is in one of the first three.
    private struct CommitResult: Sendable {
        var done: [Completion] = []
        /// Their outputs can never be stored.
        var refused: [Completion] = []
        var waiting: [Completion] = []
        var error: EventLogError?
        /// This member is out of the group.
        var isOut = false
    }

    private let log: any EventLog
    private let membership: GroupMembership
    private let stage: any RecordStage
    private let settings: Settings
    private let time: TimeSource
    private let faults: FaultPoints
    private let metrics: RunnerMetrics
    private let logger: Logger
    private let stopping = Mutex<(isStopping: Bool, signals: AsyncStream<Signal>.Continuation?)>((false, nil))
    private let health = Mutex(Health(isReady: false, reason: "starting"))
    private let rival = Mutex<EventLogError?>(nil)

    package struct Health: Sendable, Hashable {
        package var isReady: Bool
        package var reason: String
    }

    package init(
        log: any EventLog,
        membership: GroupMembership,
        stage: any RecordStage,
        settings: Settings,
        time: TimeSource,
        faults: FaultPoints = .none
    ) {
        self.faults = faults
        self.log = log
        self.membership = membership
        self.stage = stage
        self.settings = settings
        self.time = time
        metrics = RunnerMetrics(group: membership.group)
        logger = Logger(label: "runner.\(membership.group)")
    }

    package var currentHealth: Health { health.withLock { $0 } }

    /// Why `run` has returned though nobody stopped it: another process has this member's name.
    package var wasReplaced: EventLogError? { rival.withLock { $0 } }

    /// Lets records in flight finish and be committed, leaves the group, and lets `run` return.
    package func stop() {
        stopping.withLock { state in
            state.isStopping = true
            state.signals?.yield(.stop)
        }
    }

    /// Runs until `stop`, or until the task is cancelled; joins again whenever the group has shut this member
    /// out. Only a rival of the same name ends it: the two would shut out each other for ever.
    package func run() async {
        var fencings = Fencings()
        while !isDone {
            do throws(EventLogError) {
                await faults.reach(.joinBefore)
                let consumer = try await log.join(membership)
                await faults.reach(.joinAfter)
                setHealth(true, "consuming")
                let end = await serve(consumer)
                await consumer.leave()
                if let end, end.kind == .fenced, !isDone {
                    setHealth(false, end.detail)
                    guard !fencings.add(at: time.now()) else { return rival.withLock { $0 = end } }
                    logger.warning(
                        "Shut out under its own name: joining again",
                        metadata: [LogKeys.error: end.detail]
                    )
                }
            } catch {
                setHealth(false, error.detail)
                logger.warning("Group not joined", metadata: [LogKeys.error: error.detail])
            }
            guard !isDone else { break }
            // Cancelled: the loop's condition sees it.
            try? await time.sleep(.seconds(1))
        }
        setHealth(false, "stopped")
    }

    private var isDone: Bool { stopping.withLock { $0.isStopping } || Task.isCancelled }

    private func setHealth(_ isReady: Bool, _ reason: String) {
        health.withLock { $0 = Health(isReady: isReady, reason: reason) }
    }

    /// Returns what ended it, if anything but `stop` did.
    private func serve(_ consumer: any LogConsumer) async -> EventLogError? {
        let (stream, signals) = AsyncStream.makeStream(of: Signal.self)
        stopping.withLock { state in
            state.signals = signals
            if state.isStopping { signals.yield(.stop) }
        }
        let end = await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group -> EventLogError? in
                group.addTask { await self.poll(consumer, to: signals) }
                var loop = Loop(dispatch: Dispatch(limits: self.settings.limits))
                for await signal in stream {
                    await self.take(signal, consumer, &loop)
                    if loop.isOver { break }
                    self.start(&group, consumer, signals, &loop)
                    await self.adjustFlow(of: consumer, &loop)
                }
                await self.faults.reach(.leaveBefore)
                await consumer.leave()
                await self.faults.reach(.leaveAfter)
                group.cancelAll()
                return loop.end
            }
        } onCancel: {
            signals.yield(.stopTimedOut)
        }
        stopping.withLock { $0.signals = nil }
        signals.finish()
        return end
    }

    private struct Loop {
        var dispatch: Dispatch
        var isCommitting = false
        var isHeld = false
        var isOver = false
        var end: EventLogError?
        var revoking: [Assignment] = []
        var newTimers: [(Duration, Signal)] = []
    }

    private func take(_ signal: Signal, _ consumer: any LogConsumer, _ loop: inout Loop) async {
        switch signal {
        case .event(let event): await take(event, &loop)
        case .handled(let work, let outputs):
            loop.dispatch.handled(work, outputs: outputs)
            await faults.reach(.handAfter)
        case .committed(let result):
            loop.isCommitting = false
            await faults.reach(.bookBefore)
            take(result, &loop)
            collect(for: consumer.commitSpacing, &loop)
            await faults.reach(.bookAfter)
        case .out(let error): end(error, &loop)
        case .retryCommit: loop.isHeld = false
        case .revokeTimedOut(let assignments): await release(assignments, consumer, &loop)
        case .stop:
            loop.dispatch.isStopping = true
            loop.newTimers.append((settings.stopWithin, .stopTimedOut))
        case .stopTimedOut: loop.isOver = true
        }
        let drained = loop.revoking.filter { loop.dispatch.isDrained($0) }
        if !drained.isEmpty { await release(drained, consumer, &loop) }
        if loop.dispatch.isStopping, loop.dispatch.isIdle, !loop.isCommitting { loop.isOver = true }
    }

    private func take(_ event: ConsumerEvent, _ loop: inout Loop) async {
        switch event {
        case .assigned(let assignments):
            await faults.reach(.assignBefore)
            loop.dispatch.assigned(assignments)
            await faults.reach(.assignAfter)
            metrics.rebalances.increment()
            logger.info("Partitions assigned", metadata: [LogKeys.partitions: list(assignments)])
        case .records(let assignment, let records):
            await faults.reach(.pollBefore)
            loop.dispatch.arrived(records, under: assignment)
            await faults.reach(.pollAfter)
        case .revoked(let assignments):
            logger.info("Partitions wanted back", metadata: [LogKeys.partitions: list(assignments)])
            loop.dispatch.drain(assignments)
            loop.revoking += assignments
            loop.newTimers.append((settings.revokeWithin, .revokeTimedOut(assignments)))
        case .lost(let assignments):
            logger.warning("Partitions lost", metadata: [LogKeys.partitions: list(assignments)])
            loop.dispatch.ended(assignments)
            loop.revoking.removeAll { gone in assignments.contains { $0 === gone } }
        case .left: loop.isOver = true
        }
    }

    private func take(_ result: CommitResult, _ loop: inout Loop) {
        loop.dispatch.committed(result.done)
        if !result.done.isEmpty { metrics.commits.increment() }
        for completion in result.refused { replace(completion, result.error, &loop) }
        loop.dispatch.giveBack(result.waiting)
        guard let error = result.error else { return }
        if result.isOut {
            end(error, &loop)
        } else if result.refused.isEmpty {
            logger.warning("Commit not possible now", metadata: [LogKeys.error: error.detail])
            loop.isHeld = true
            loop.newTimers.append((.milliseconds(500), .retryCommit))
        }
    }

    /// What finishes in the time after a commit shares the next one.
    private func collect(for spacing: Duration, _ loop: inout Loop) {
        guard !loop.isHeld, spacing > .zero else { return }
        loop.isHeld = true
        loop.newTimers.append((spacing, .retryCommit))
    }

    private func end(_ error: EventLogError, _ loop: inout Loop) {
        logger.warning("Out of the group", metadata: [LogKeys.error: error.detail])
        loop.isOver = true
        loop.end = error
    }

    /// The record goes on with what its stage says in place of outputs that the log can never store; when
    /// these can not be stored either, with none, so that its partition does not stand still for ever.
    private func replace(_ completion: Completion, _ error: EventLogError?, _ loop: inout Loop) {
        let detail = error?.detail ?? ""
        logger.error(
            "Outputs refused by the log",
            metadata: [
                LogKeys.position: "\(completion.assignment.partition)@\(completion.offset)",
                LogKeys.error: detail,
            ]
        )
        loop.dispatch.replace(completion) { stage.refused($0, detail: detail) }
    }

    private func release(_ assignments: [Assignment], _ consumer: any LogConsumer, _ loop: inout Loop) async {
        let still = assignments.filter { assignment in loop.revoking.contains { $0 === assignment } }
        guard !still.isEmpty else { return }
        await faults.reach(.revokeBefore)
        loop.dispatch.ended(still)
        loop.revoking.removeAll { gone in still.contains { $0 === gone } }
        await consumer.release(still)
        await faults.reach(.revokeAfter)
    }

    /// Starts what the loop's state allows: records, a commit, timers, pauses.
    private func start(
        _ group: inout DiscardingTaskGroup,
        _ consumer: any LogConsumer,
        _ signals: AsyncStream<Signal>.Continuation,
        _ loop: inout Loop
    ) {
        while let work = loop.dispatch.start() {
            group.addTask { [stage] in
                let outputs = await stage.handle(work.record, in: work.assignment)
                signals.yield(.handled(work, outputs))
            }
        }
        if !loop.isCommitting, !loop.isHeld {
            let ready = loop.dispatch.takeFinished()
            if !ready.isEmpty {
                loop.isCommitting = true
                group.addTask { signals.yield(.committed(await self.commit(ready, to: consumer))) }
            }
        }
        for (duration, signal) in loop.newTimers {
            group.addTask { [time] in
                // Cancelled when the loop is over; the signal has no reader then.
                try? await time.sleep(duration)
                signals.yield(signal)
            }
        }
        loop.newTimers = []
        metrics.inFlight.set(loop.dispatch.inFlight)
        metrics.queuedBytes.set(loop.dispatch.queuedBytes)
    }

    /// In the loop itself: of a pause and a resume side by side, the pause could come last and stay.
    private func adjustFlow(of consumer: any LogConsumer, _ loop: inout Loop) async {
        let (pause, resume) = loop.dispatch.flowChanges()
        for assignment in pause { await consumer.pause(assignment) }
        for assignment in resume { await consumer.resume(assignment) }
    }

    private func commit(_ completions: [Completion], to consumer: any LogConsumer) async -> CommitResult {
        do throws(EventLogError) {
            _ = try await consumer.commit(completions)
            return CommitResult(done: completions)
        } catch {
            switch error.kind {
            case .fenced, .closed: return CommitResult(waiting: completions, error: error, isOut: true)
            case .invalid where completions.count > 1: return await commitOneByOne(completions, to: consumer)
            case .invalid: return CommitResult(refused: completions, error: error)
            default: return CommitResult(waiting: completions, error: error)
            }
        }
    }
}

extension Runner {
    /// Finds the completions whose outputs the log can never store; the others take effect.
    private func commitOneByOne(_ completions: [Completion], to consumer: any LogConsumer) async
        -> CommitResult
    {
        var total = CommitResult()
        for (index, completion) in completions.enumerated() {
            let result = await commit([completion], to: consumer)
            total.done += result.done
            total.refused += result.refused
            total.error = result.error ?? total.error
            guard result.waiting.isEmpty else {
                total.waiting = Array(completions[index...])
                total.isOut = result.isOut
                return total
            }
        }
        return total
    }

    private func poll(_ consumer: any LogConsumer, to signals: AsyncStream<Signal>.Continuation) async {
        while !Task.isCancelled {
            do throws(EventLogError) {
                let event = try await consumer.next()
                signals.yield(.event(event))
                if case .left = event { return }
                setHealth(true, "consuming")
            } catch {
                setHealth(false, error.detail)
                switch error.kind {
                case .fenced, .closed:
                    signals.yield(.out(error))
                    return
                default:
                    logger.warning("Consumer has no answer", metadata: [LogKeys.error: error.detail])
                    // Cancelled: the loop's condition sees it.
                    try? await time.sleep(.seconds(1))
                    // While nothing happens `next` only waits: without this an idle process, once unready,
                    // would stay so, and a balancer would never send it what makes it ready.
                    setHealth(true, "consuming")
                }
            }
        }
    }

    private func list(_ assignments: [Assignment]) -> String {
        assignments.map { "\($0.partition)" }.joined(separator: " ")
    }
}
