import Pipeline

/// Two workers, two events of one partition, a store that creates a slot once and a log that takes commits:
/// everything between an event and its visible reply, small enough to try every order of it.
///
/// The turn is the product's own `TurnProtocol`; the commit, the bitmap, the assignments and the group's
/// generation are modelled after `Runner`, `Dispatch`, `Assignment` and `LogConsumer.commit`.
struct CommitModel: Hashable {
    /// How much may happen in one history: crashes, moves of the partition, lost responses of the store.
    struct Limits: Sendable {
        var each = 2
        var together = 3
    }

    /// The rules of one search.
    struct Rules: Sendable {
        /// Of each event, its conversation.
        var conversations: [Int]
        var broken: Breakage?
        /// Nobody can tell a slot of its own from another's.
        var hidesPutIDs = false
        var limits = Limits()
    }

    /// A slot as one try made it.
    struct Put: Hashable {
        let event: Int
        let worker: Int
        let epoch: Int
    }

    struct Progress: Hashable {
        var low = 0
        /// Bit e is event e.
        var above = 0

        func isDone(_ event: Int) -> Bool { event < low || above >> event & 1 == 1 }

        mutating func finish(_ event: Int) {
            above |= 1 << event
            while above >> low & 1 == 1 {
                above &= ~(1 << low)
                low += 1
            }
        }
    }

    struct Turn: Hashable {
        let event: Int
        /// Of the assignment it was started under.
        let epoch: Int
        var machine: TurnProtocol
        var action: TurnProtocol.Action
        var read: Put?
    }

    struct Finished: Hashable {
        let event: Int
        let epoch: Int
        /// Nil when there is nothing to say.
        let outbox: Put?
    }

    struct Commit: Hashable {
        let generation: Int
        let entries: [Finished]
    }

    struct Worker: Hashable {
        /// The generation in which it was given the partition; nil while it has none, as far as it knows.
        var epoch: Int?
        var progress = Progress()
        var turns: [Turn] = []
        var finished: [Finished] = []
        var commit: Commit?
    }

    // What is durable.
    /// By conversation, turn 1 first.
    var slots: [[Put]]
    var progress = Progress()
    var visible: [Put] = []
    // The group.
    var owner = 0
    var generation = 0
    var workers = [Worker(), Worker()]
    // What has happened.
    var crashes = 0
    var moves = 0
    var lostResponses = 0

    init(_ rules: Rules) {
        slots = Array(repeating: [], count: (rules.conversations.max() ?? 0) + 1)
    }

    /// What must not be, or nil.
    func violation(_ rules: Rules) -> String? {
        for event in rules.conversations.indices {
            let replies = visible.filter { $0.event == event }
            if replies.count > 1 { return "event \(event) has \(replies.count) replies" }
            if replies.isEmpty, progress.isDone(event) { return "event \(event) is done without a reply" }
        }
        for (conversation, slots) in slots.enumerated() {
            let replies = visible.filter { rules.conversations[$0.event] == conversation }
            if replies != Array(slots.prefix(replies.count)) {
                return "replies \(replies) are not those of the slots \(slots)"
            }
            if slots.map(\.event) != slots.map(\.event).sorted()
                || Set(slots.map(\.event)).count < slots.count
            {
                return "slots hold the events \(slots.map(\.event))"
            }
        }
        return nil
    }
}

// What can happen next.
extension CommitModel {
    func successors(_ rules: Rules) -> [CommitModel] {
        var next: [CommitModel] = []
        for index in workers.indices {
            next += assign(index) + start(index, rules) + begin(index, rules) + commit(index, rules)
            for turn in workers[index].turns.indices { next += advance(turn, of: index, rules) }
            if mayHappen(crashes, rules), workers[index] != Worker() {
                var crashed = self
                crashed.crashes += 1
                crashed.workers[index] = Worker()
                // It joins anew.
                if owner == index { crashed.generation += 1 }
                next.append(crashed)
            }
        }
        if mayHappen(moves, rules) {
            // The group gives the partition to the other one; the first does not know.
            var moved = self
            moved.moves += 1
            moved.owner = 1 - owner
            moved.generation += 1
            next.append(moved)
        }
        return next.map { $0.canonical(rules) }
    }

    /// The same without the order of what has none: turns side by side, results waiting for a commit, replies
    /// of different conversations.
    private func canonical(_ rules: Rules) -> CommitModel {
        var model = self
        for index in workers.indices {
            model.workers[index].turns.sort { ($0.event, $0.epoch) < ($1.event, $1.epoch) }
            model.workers[index].finished.sort { ($0.event, $0.epoch) < ($1.event, $1.epoch) }
        }
        model.visible = slots.indices.flatMap { conversation in
            visible.filter { rules.conversations[$0.event] == conversation }
        }
        return model
    }

    private func mayHappen(_ count: Int, _ rules: Rules) -> Bool {
        count < rules.limits.each && crashes + moves + lostResponses < rules.limits.together
    }

    /// The owner is given the partition; one that has lost it finds out.
    private func assign(_ index: Int) -> [CommitModel] {
        var model = self
        if let epoch = workers[index].epoch {
            guard epoch != generation else { return [] }
            model.workers[index].epoch = nil
        } else {
            guard owner == index else { return [] }
            model.workers[index].epoch = generation
            model.workers[index].progress = progress
        }
        return [model]
    }

    /// One event of a conversation at a time, in order, as long as nothing of it is under way.
    private func start(_ index: Int, _ rules: Rules) -> [CommitModel] {
        let worker = workers[index]
        guard let epoch = worker.epoch else { return [] }
        var busy = Set(worker.turns.filter { $0.epoch == epoch }.map(\.event))
        busy.formUnion(worker.finished.filter { $0.epoch == epoch }.map(\.event))
        busy.formUnion(worker.commit?.entries.filter { $0.epoch == epoch }.map(\.event) ?? [])
        let events = rules.conversations.indices.filter { event in
            !worker.progress.isDone(event)
                && !busy.contains { rules.conversations[$0] == rules.conversations[event] }
                && !(0..<event).contains {
                    rules.conversations[$0] == rules.conversations[event] && !worker.progress.isDone($0)
                }
        }
        return events.map { event in
            let machine = TurnProtocol(
                offset: Int64(event),
                attemptsMax: 9,
                broken: rules.broken
            )
            var model = self
            model.workers[index].turns.append(
                Turn(event: event, epoch: epoch, machine: machine, action: machine.first)
            )
            model.load(model.workers[index].turns.count - 1, of: index, rules)
            return model
        }
    }

    /// What is ready goes into one transaction, if it was done under the assignment that is held now.
    private func begin(_ index: Int, _ rules: Rules) -> [CommitModel] {
        let worker = workers[index]
        guard let epoch = worker.epoch, worker.commit == nil, !worker.finished.isEmpty else { return [] }
        let entries = worker.finished.filter { $0.epoch == epoch || rules.broken == .noEpoch }
        var model = self
        model.workers[index].finished = []
        if !entries.isEmpty { model.workers[index].commit = Commit(generation: epoch, entries: entries) }
        return [model]
    }

    private func commit(_ index: Int, _ rules: Rules) -> [CommitModel] {
        guard let commit = workers[index].commit else { return [] }
        var model = self
        model.workers[index].commit = nil
        guard commit.generation == generation || rules.broken == .noFence else {
            model.workers[index].epoch = nil
            return [model]
        }
        model.visible += commit.entries.compactMap(\.outbox)
        for entry in commit.entries { model.workers[index].progress.finish(entry.event) }
        model.progress = model.workers[index].progress
        if rules.broken == .noBitmap { model.progress.above = 0 }
        return [model]
    }
}

// A turn's steps: those that touch the store or the log. What a worker does by itself in between is done at
// once, because nobody else can see when.
extension CommitModel {
    private func advance(_ place: Int, of index: Int, _ rules: Rules) -> [CommitModel] {
        let turn = workers[index].turns[place]
        var next: [CommitModel] = []
        var model = self
        switch turn.action {
        case .load:
            model.load(place, of: index, rules)
            next = [model]
        case .read(let number):
            model.read(Int(number), place, of: index, rules)
            next = [model]
        case .seal(let number): next = seal(Int(number), place, of: index, rules)
        case .execute, .giveUp, .countAttempt, .wait, .finish: preconditionFailure("\(turn.action) was done")
        }
        // A turn whose assignment has ended may stop here. That it need not is a step begun before the end.
        if turn.epoch != workers[index].epoch, rules.broken != .noEpoch {
            var dropped = self
            dropped.workers[index].turns.remove(at: place)
            next.append(dropped)
        }
        return next
    }

    private mutating func load(_ place: Int, of index: Int, _ rules: Rules) {
        let event = workers[index].turns[place].event
        let slots = slots[rules.conversations[event]]
        let head = slots.last.map { last in
            TurnProtocol.Head(
                turn: Int64(slots.count),
                position: Int64(last.event),
                hasSeenEvent: slots.contains { $0.event == event }
            )
        }
        observe(.loaded(head, isRedelivered: false), place, of: index)
    }

    private mutating func read(_ number: Int, _ place: Int, of index: Int, _ rules: Rules) {
        let turn = workers[index].turns[place]
        let slots = slots[rules.conversations[turn.event]]
        let met = slots.indices.contains(number - 1) ? slots[number - 1] : nil
        workers[index].turns[place].read = met
        let own = Put(event: turn.event, worker: index, epoch: turn.epoch)
        let seen = met.map { met in
            TurnProtocol.Met(
                isMine: met == own && !rules.hidesPutIDs,
                containsEvent: met.event == turn.event,
                position: Int64(met.event)
            )
        }
        observe(.read(seen), place, of: index)
    }

    /// The slot is created if it is not there; the answer may be lost, and the put is repeated then.
    private func seal(_ number: Int, _ place: Int, of index: Int, _ rules: Rules) -> [CommitModel] {
        var model = self
        let turn = workers[index].turns[place]
        let conversation = rules.conversations[turn.event]
        guard slots[conversation].count == number - 1 else {
            model.observe(.taken, place, of: index)
            return [model]
        }
        model.slots[conversation].append(Put(event: turn.event, worker: index, epoch: turn.epoch))
        var lost = model
        model.observe(.sealed, place, of: index)
        guard mayHappen(lostResponses, rules) else { return [model] }
        lost.lostResponses += 1
        return [model, lost]
    }

    private mutating func observe(
        _ observation: TurnProtocol.Observation,
        _ place: Int,
        of index: Int
    ) {
        var observation = observation
        while true {
            let action = workers[index].turns[place].machine.next(after: observation)
            workers[index].turns[place].action = action
            switch action {
            case .load, .read, .seal: return
            case .execute, .giveUp: observation = .executed
            case .countAttempt: observation = .attempts(1)
            case .wait: observation = .waited
            case .finish(let finish): return hand(finish, place, of: index)
            }
        }
    }

    private mutating func hand(_ finish: TurnProtocol.Finish, _ place: Int, of index: Int) {
        let turn = workers[index].turns.remove(at: place)
        let outbox: Put? =
            switch finish {
            case .emitOwn: Put(event: turn.event, worker: index, epoch: turn.epoch)
            case .emitRead: turn.read
            case .duplicate, .forgotten: nil
            }
        workers[index].finished.append(Finished(event: turn.event, epoch: turn.epoch, outbox: outbox))
    }
}
