import JSON
import Synchronization
import Topics

/// How far into each partition turns may have been begun, by whomever, kept in the store.
///
/// An event beyond that was tried by nobody: it needs no attempt mark and no look into the journal, which
/// would be a put more for each event of a backlog. The bound is written before the first event at or above
/// it begins, `stride` offsets at a time, so it is a put for some thousand events.
package final class TriedOffsets: Sendable {
    package static let stride: Int64 = 4_096
    /// More of them in a row than members that could be in each other's way.
    private static let roundsMax = 8

    /// What is known while a partition stays with this member.
    private struct Stay {
        let assignment: Assignment
        /// Offsets below it may have been tried before the stay.
        let triedBelow: Int64
        /// What the store says; no event at or above it may begin.
        var bound: Bound
    }

    /// An object: all that were ever begun are below; and the condition to write it anew.
    private struct Bound {
        let below: Int64
        let condition: PutCondition

        init(below: Int64, condition: PutCondition) {
            self.below = below
            self.condition = condition
        }

        /// Nothing there, or nothing that can be read: any offset is above it.
        init(_ found: (below: Int64?, condition: PutCondition)?) {
            self.init(below: found?.below ?? 0, condition: found?.condition ?? .absent)
        }
    }

    private struct State {
        var stays: [TopicPartition: Stay] = [:]
        /// Those that wait for a bound, by partition: one asks for all.
        var asking: [TopicPartition: Task<TurnFailure?, Never>] = [:]
    }

    private enum Step {
        case known(hasBeenTried: Bool)
        case wait(Task<TurnFailure?, Never>)
    }

    private let store: TurnStore
    private let sources: SourceNaming
    private let state = Mutex(State())

    init(_ store: TurnStore, _ sources: SourceNaming) {
        self.store = store
        self.sources = sources
    }

    /// Whether somebody may have begun this event before; once it returns, the event may begin.
    func mayHaveTried(_ offset: Int64, in assignment: Assignment) async throws(TurnFailure) -> Bool {
        while true {
            switch step(offset, assignment) {
            case .known(let hasBeenTried): return hasBeenTried
            case .wait(let task): if let failure = await task.value { throw failure }
            }
        }
    }

    private func step(_ offset: Int64, _ assignment: Assignment) -> Step {
        state.withLock { state in
            let place = assignment.partition
            let stay = state.stays[place].flatMap { $0.assignment === assignment ? $0 : nil }
            if let stay, offset < stay.bound.below { return .known(hasBeenTried: offset < stay.triedBelow) }
            if let task = state.asking[place] { return .wait(task) }
            let task = Task { [self] in await extend(stay, over: offset, in: assignment) }
            state.asking[place] = task
            return .wait(task)
        }
    }

    /// Nil when the bound is in the store and known.
    private func extend(_ stay: Stay?, over offset: Int64, in assignment: Assignment) async -> TurnFailure? {
        let place = assignment.partition
        do throws(TurnFailure) {
            let key = key(of: place)
            var next: Stay
            if let stay { next = stay } else { next = try await begin(assignment, at: key) }
            next.bound = try await raise(next.bound, over: offset, at: key)
            state.withLock { [next] state in
                state.stays[place] = next
                state.asking[place] = nil
            }
            return nil
        } catch {
            state.withLock { $0.asking[place] = nil }
            return error
        }
    }

    private func begin(_ assignment: Assignment, at key: String) async throws(TurnFailure) -> Stay {
        let found = try await store.bound(at: key)
        // From `freshFrom` on there was no event to try; what can not be read tells nothing.
        let triedBelow = found.map { min($0.below ?? .max, assignment.freshFrom) } ?? 0
        return Stay(assignment: assignment, triedBelow: triedBelow, bound: Bound(found))
    }

    /// It only ever rises, whoever else writes it.
    private func raise(_ bound: Bound, over offset: Int64, at key: String) async throws(TurnFailure) -> Bound
    {
        var bound = bound
        for _ in 0..<Self.roundsMax {
            if offset < bound.below { return bound }
            let below = offset + Self.stride
            if let etag = try await store.put(bound: below, at: key, if: bound.condition) {
                return Bound(below: below, condition: .unchanged(etag: etag))
            }
            bound = Bound(try await store.bound(at: key))
        }
        throw TurnFailure(.store, "\(key): always changed by somebody else")
    }

    private func key(of place: TopicPartition) -> String {
        let log = ConversationKeys.escaped(sources.log)
        let topic = ConversationKeys.escaped(sources.plain(place.topic))
        return "tried/\(log)/\(topic)/\(place.partition)"
    }
}

/// The object's form.
struct TriedBound: JSONObjectCoded, Hashable {
    var below: Int64 = 0

    init() {}

    init(below: Int64) {
        self.below = below
    }

    static let fields = JSONFields<TriedBound>(
        title: "TriedBound",
        doc: "How far into a partition turns may have been begun.",
        [.required("below", \.below, "Every offset that was ever tried is below it.")]
    )
}
