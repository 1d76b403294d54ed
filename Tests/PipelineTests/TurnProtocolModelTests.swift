import Pipeline
import Testing

/// Every order of steps, crashes and rivals of two workers on two events of one conversation, tried by a
/// breadth-first search: the protocol's own state machine against a store that creates a slot once and a log
/// that commits once.
@Suite("Turn protocol, every order")
struct TurnProtocolModelTests {
    private struct Slot: Hashable {
        let worker: Int
        let event: Int64
        let position: Int64
    }

    private struct Worker: Hashable {
        var generation: Int
        var event: Int64?
        var machine: TurnProtocol?
        var action: TurnProtocol.Action?
        var head: [Slot]?
        var readSlot: Slot?
        var crashes = 0
    }

    private struct World: Hashable {
        var slots: [Slot] = []
        var committed: Int64 = 0
        var generation = 1
        var owner = 0
        var workers = [Worker(generation: 1), Worker(generation: 0)]
        /// Events whose reply became visible, in order, with the worker whose slot it came from.
        var replies: [Slot] = []
        var moves = 0
    }

    private static let eventCount: Int64 = 2

    @Test("each event has one slot and one reply, in order, and the reply is the slot's")
    func everyOrder() {
        var seen: Set<World> = [World()]
        var queue = [World()]
        var finals = 0
        while let world = queue.popLast() {
            check(world)
            let next = steps(from: world)
            if world.committed == Self.eventCount { finals += 1 }
            for world in next where seen.insert(world).inserted { queue.append(world) }
        }
        #expect(seen.count > 1_000)
        #expect(finals > 0)
    }

    private func check(_ world: World) {
        let events = world.slots.map(\.event)
        #expect(events == Array(0..<Int64(events.count)), "slots hold \(events)")
        #expect(
            world.replies == Array(world.slots.prefix(world.replies.count)),
            "\(world.replies) of \(world.slots)"
        )
        #expect(world.replies.count == Int(world.committed), "\(world.replies) at \(world.committed)")
    }

    private func steps(from world: World) -> [World] {
        var next: [World] = []
        for index in world.workers.indices {
            next += advance(index, in: world)
            if world.workers[index].machine != nil, world.workers[index].crashes < 2 {
                var crashed = world
                crashed.workers[index] = Worker(generation: world.workers[index].generation)
                crashed.workers[index].crashes = world.workers[index].crashes + 1
                next.append(crashed)
            }
        }
        if world.moves < 2 {
            // The group gives the partition to the other one, who may not know the first is still at work.
            var moved = world
            moved.owner = 1 - world.owner
            moved.generation += 1
            moved.moves += 1
            moved.workers[moved.owner] = Worker(generation: moved.generation)
            moved.workers[moved.owner].crashes = world.workers[moved.owner].crashes
            next.append(moved)
        }
        return next
    }

    private func advance(_ index: Int, in world: World) -> [World] {
        var world = world
        var worker = world.workers[index]
        guard let action = worker.action, var machine = worker.machine, let event = worker.event else {
            guard world.owner == index, world.committed < Self.eventCount else { return [] }
            worker.event = world.committed
            worker.machine = TurnProtocol(offset: world.committed, attemptsMax: 99)
            worker.action = worker.machine?.first
            world.workers[index] = worker
            return [world]
        }
        let observation: TurnProtocol.Observation
        switch action {
        case .load:
            worker.head = world.slots
            observation = .loaded(
                world.slots.last.map {
                    TurnProtocol.Head(
                        turn: Int64(world.slots.count),
                        position: $0.position,
                        hasSeenEvent: world.slots.contains { $0.event == event }
                    )
                },
                isRedelivered: true
            )
        case .read(let turn):
            let slot = world.slots.indices.contains(Int(turn) - 1) ? world.slots[Int(turn) - 1] : nil
            worker.readSlot = slot
            observation = .read(
                slot.map {
                    TurnProtocol.Met(isMine: false, containsEvent: $0.event == event, position: $0.position)
                }
            )
        case .countAttempt: observation = .attempts(1)
        case .execute, .giveUp: observation = .executed
        case .wait: observation = .waited
        case .seal(let turn):
            if world.slots.count == Int(turn) - 1 {
                let slot = Slot(worker: index, event: event, position: event)
                world.slots.append(slot)
                worker.readSlot = slot
                observation = .sealed
            } else {
                observation = .taken
            }
        case .finish(let finish):
            return commit(finish, worker, index, world)
        }
        worker.action = machine.next(after: observation)
        worker.machine = machine
        world.workers[index] = worker
        return [world]
    }

    /// The log takes a commit of the partition's owner in its own generation only, and only of what is not
    /// done.
    private func commit(_ finish: TurnProtocol.Finish, _ worker: Worker, _ index: Int, _ world: World)
        -> [World]
    {
        var world = world
        let crashes = worker.crashes
        if world.owner == index, worker.generation == world.generation, worker.event == world.committed {
            switch finish {
            case .emitOwn, .emitRead: if let slot = worker.readSlot { world.replies.append(slot) }
            case .duplicate, .forgotten: Issue.record("event \(world.committed) was dropped as \(finish)")
            }
            world.committed += 1
        }
        world.workers[index] = Worker(generation: worker.generation)
        world.workers[index].crashes = crashes
        return [world]
    }
}
