/// The steps of one turn as a value: what to do next, given what was seen. It reads no store and no clock, so
/// that every order of crashes and rivals can be tried on it.
///
/// Why each event takes effect once: the slot of turn n can be created by one worker only, an event is in one
/// slot at most (`positions` and `recent` are checked under the same create-if-absent), and what is emitted
/// is always the outbox of the slot that won. An event delivered again means that its commit did not happen:
/// its outbox is emitted again and nothing is executed.
package struct TurnProtocol: Sendable, Hashable {
    /// What the protocol needs to know of the conversation's newest slot.
    package struct Head: Sendable, Hashable {
        package var turn: Int64
        /// The highest offset applied from the event's partition; nil for none.
        package var position: Int64?
        package var hasSeenEvent: Bool

        package init(turn: Int64, position: Int64?, hasSeenEvent: Bool) {
            self.turn = turn
            self.position = position
            self.hasSeenEvent = hasSeenEvent
        }
    }

    /// What it needs to know of a slot met on the way.
    package struct Met: Sendable, Hashable {
        package var isMine: Bool
        package var containsEvent: Bool
        /// As in `Head`.
        package var position: Int64?

        package init(isMine: Bool, containsEvent: Bool, position: Int64?) {
            self.isMine = isMine
            self.containsEvent = containsEvent
            self.position = position
        }
    }

    package enum Action: Sendable, Hashable {
        /// Find the newest slot.
        case load
        /// Get the slot of this turn.
        case read(turn: Int64)
        /// Create the next attempt mark of this turn and count those there are.
        case countAttempt(turn: Int64)
        /// Run the agent; `attempt` counts from 1.
        case execute(turn: Int64, attempt: Int)
        /// Wait, then do what comes next.
        case wait(failures: Int, throttled: Bool)
        /// Make the turn a dead letter, without running the agent.
        case giveUp(turn: Int64, reason: GiveUp, attempts: Int)
        /// Create the slot of this turn.
        case seal(turn: Int64)
        case finish(Finish)
    }

    package enum GiveUp: String, Sendable, Hashable {
        case attemptsSpent = "attempts_spent"
        case permanentFailure = "permanent_failure"
    }

    package enum Finish: Sendable, Hashable {
        /// Emit the outbox of the slot just created.
        case emitOwn
        /// Emit the outbox of the slot last read, another's or our own from before.
        case emitRead
        /// The platform delivered twice: nothing to say, the offset is done.
        case duplicate
        /// It was applied so long ago that its slot is gone; its outbox was emitted then.
        case forgotten
    }

    package enum Observation: Sendable, Hashable {
        /// `isRedelivered`: somebody may have tried the event before.
        case loaded(Head?, isRedelivered: Bool)
        case read(Met?)
        case attempts(Int)
        case executed
        case failed(Failure)
        case waited
        case sealed
        /// Somebody created the slot before.
        case taken
    }

    package enum Failure: Sendable, Hashable {
        case transient
        /// Does not count as an attempt.
        case throttled
        case permanent
    }

    private enum Phase: Sendable, Hashable {
        case loading, walking(turn: Int64), counting(turn: Int64), executing(turn: Int64)
        case waiting(turn: Int64), sealing(turn: Int64), comparing(turn: Int64), finished
    }

    private let offset: Int64
    private let attemptsMax: Int
    private let broken: Breakage?
    private var phase = Phase.loading
    private var attempts = 0
    private var failures = 0

    /// `broken`: a rule to break, in tests.
    package init(offset: Int64, attemptsMax: Int, broken: Breakage? = nil) {
        self.broken = broken
        self.offset = offset
        self.attemptsMax = attemptsMax
    }

    package var first: Action { .load }

    package mutating func next(after observation: Observation) -> Action {
        switch (phase, observation) {
        case (.loading, .loaded(let head, let isRedelivered)):
            return decide(on: head, isRedelivered: isRedelivered)
        case (.walking(let turn), .read(let met)): return walk(met, at: turn)
        case (.counting(let turn), .attempts(let count)):
            attempts = count - 1
            return count > attemptsMax
                ? giveUp(turn, .attemptsSpent, attempts: attempts) : execute(turn)
        case (.executing(let turn), .executed):
            phase = .sealing(turn: turn)
            return .seal(turn: turn)
        case (.executing(let turn), .failed(let failure)): return retry(turn, after: failure)
        case (.waiting(let turn), .waited): return execute(turn)
        case (.sealing, .sealed): return finish(.emitOwn)
        case (.sealing(let turn), .taken):
            phase = .comparing(turn: turn)
            return .read(turn: turn)
        case (.comparing, .read(let met)): return compare(met)
        default: preconditionFailure("\(observation) in phase \(phase)")
        }
    }

    private mutating func decide(on head: Head?, isRedelivered: Bool) -> Action {
        if let head, let position = head.position, offset <= position {
            phase = .walking(turn: head.turn)
            return .read(turn: head.turn)
        }
        if let head, head.hasSeenEvent { return finish(.duplicate) }
        let turn = (head?.turn ?? 0) + 1
        guard isRedelivered, attempts == 0 else { return execute(turn) }
        phase = .counting(turn: turn)
        return .countAttempt(turn: turn)
    }

    private mutating func walk(_ met: Met?, at turn: Int64) -> Action {
        guard let met, turn > 0 else { return finish(.forgotten) }
        if met.containsEvent { return finish(.emitRead) }
        // Below the slot that applied this offset there is nothing to find: the offset was a platform's
        // second delivery, which left no slot.
        guard let position = met.position, position >= offset, turn > 1 else { return finish(.forgotten) }
        phase = .walking(turn: turn - 1)
        return .read(turn: turn - 1)
    }

    private mutating func execute(_ turn: Int64) -> Action {
        phase = .executing(turn: turn)
        return .execute(turn: turn, attempt: attempts + 1)
    }

    private mutating func retry(_ turn: Int64, after failure: Failure) -> Action {
        switch failure {
        case .permanent: return giveUp(turn, .permanentFailure, attempts: attempts + 1)
        case .throttled: break
        case .transient:
            attempts += 1
            if attempts >= attemptsMax { return giveUp(turn, .attemptsSpent, attempts: attempts) }
        }
        failures += 1
        phase = .waiting(turn: turn)
        return .wait(failures: failures, throttled: failure == .throttled)
    }

    private mutating func giveUp(_ turn: Int64, _ reason: GiveUp, attempts: Int) -> Action {
        phase = .executing(turn: turn)
        return .giveUp(turn: turn, reason: reason, attempts: attempts)
    }

    private mutating func compare(_ met: Met?) -> Action {
        guard let met else {
            // It was there a moment ago; load afresh.
            phase = .loading
            return .load
        }
        if broken == .noPutID { return finish(.duplicate) }
        if met.isMine { return finish(.emitOwn) }
        if met.containsEvent { return finish(broken == .ownOutbox ? .emitOwn : .emitRead) }
        phase = .loading
        return .load
    }

    private mutating func finish(_ finish: Finish) -> Action {
        phase = .finished
        return .finish(finish)
    }
}
