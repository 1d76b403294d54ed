import Crypto
import JSON
import Pipeline
import Topics

/// Reads all topics and the store after a run and says what is not as it must be: every event answered
/// exactly once, in order, with the state that is the fold of its events, no reply that no state knows, no
/// state without its reply.
struct ChaosCheck {
    enum Kind: String, Sendable, CaseIterable {
        /// An event without its reply or its turn.
        case lost
        /// An event with more than one.
        case doubled
        case order
        /// A visible record that is not, byte for byte, what the slot of its turn says.
        case orphan
        /// A slot whose outbox is not visible.
        case silent
        /// The state, or the chain of slots, is not the events' fold.
        case state
        /// An answer that the fold does not give.
        case answer
        /// Given up, or done without being done.
        case abandoned
    }

    struct Problem: CustomStringConvertible {
        let kind: Kind
        let detail: String
        var description: String { "\(kind.rawValue): \(detail)" }
    }

    private(set) var problems: [Problem] = []
    private(set) var turnCount = 0
    private(set) var replyCount = 0
    private let world: ChaosWorld

    var kinds: Set<Kind> { Set(problems.map(\.kind)) }

    var summary: String { problems.prefix(20).map { String("\($0)".prefix(300)) }.joined(separator: "\n") }

    /// Looks again at what misses a record, for a while: a transaction's end is written to its partitions one
    /// after another, and a group's progress may say so before the outputs do.
    static func settled(_ load: ChaosLoad, in world: ChaosWorld) async throws -> ChaosCheck {
        let end = ContinuousClock.now + .seconds(15)
        while true {
            let check = try await ChaosCheck(load, in: world)
            let mayCome = !check.problems.isEmpty && check.kinds.isSubset(of: [.lost, .silent])
            guard mayCome, ContinuousClock.now < end else { return check }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    private init(_ load: ChaosLoad, in world: ChaosWorld) async throws {
        self.world = world
        var replies = Self.byKey(try await world.records(RepliesTopic.topic))
        var turns = Self.byKey(try await world.records(TurnsTopic.topic))
        for letter in try await world.records(DeadLettersTopic.topic) {
            let letter = try DeadLetter(json: letter.value)
            add(.abandoned, "a dead letter for \(letter.eventID ?? "?"): \(letter.reason) \(letter.detail)")
        }
        for conversation in load.conversations {
            let visible = Visible(
                replies: replies.removeValue(forKey: conversation.key) ?? [],
                turns: turns.removeValue(forKey: conversation.key) ?? []
            )
            turnCount += visible.turns.count
            replyCount += visible.replies.count
            try check(conversation, visible)
            try await checkStore(conversation, visible)
        }
        for key in Set(replies.keys).union(turns.keys) { add(.orphan, "records of \(key), who said nothing") }
        try await checkProgress()
    }

    /// What is visible of a conversation, in the order of the log: one partition holds it.
    private struct Visible {
        let replies: [LogRecord]
        let turns: [LogRecord]
    }

    private static func byKey(_ records: [LogRecord]) -> [String: [LogRecord]] {
        Dictionary(grouping: records) { String(decoding: $0.key, as: UTF8.self) }
    }

    private mutating func add(_ kind: Kind, _ detail: String) {
        problems.append(Problem(kind: kind, detail: detail))
    }

    private mutating func check(_ conversation: ChaosLoad.Conversation, _ visible: Visible) throws {
        let replies = try visible.replies.map { try Reply(json: $0.value) }
        let turns = try visible.turns.map { try TurnRecord(json: $0.value) }
        let ids = conversation.events.map(\.id)
        let answered = replies.map(\.inResponseTo)
        let turned = turns.flatMap(\.events).map(\.id)
        for (id, answer) in zip(ids, conversation.answers) {
            let mine = replies.filter { $0.inResponseTo == id }
            let turnsOfIt = turned.filter { $0 == id }.count
            if mine.isEmpty { add(.lost, "\(id) has no reply") }
            if turnsOfIt == 0 { add(.lost, "\(id) has no turn") }
            if mine.count > 1 { add(.doubled, "\(id) has \(mine.count) replies") }
            if turnsOfIt > 1 { add(.doubled, "\(id) has \(turnsOfIt) turns") }
            for reply in mine where reply.text != answer {
                add(.answer, "\(id) was told \(reply.text), not \(answer)")
            }
        }
        if Self.firsts(answered) != ids.filter(answered.contains) { add(.order, "replies to \(answered)") }
        if Self.firsts(turned) != ids.filter(turned.contains) { add(.order, "turns of \(turned)") }
        if turns.contains(where: { $0.outcome != .answered }) {
            add(.abandoned, "a turn that gave no answer")
        }
        let strangers = Set(answered + turned).subtracting(ids)
        if !strangers.isEmpty { add(.orphan, "\(conversation.id): replies to \(strangers)") }
    }

    private static func firsts(_ ids: [String]) -> [String] {
        var seen: Set<String> = []
        return ids.filter { seen.insert($0).inserted }
    }

    private mutating func checkStore(_ conversation: ChaosLoad.Conversation, _ visible: Visible) async throws
    {
        let store = TurnStore(world.objects)
        let keys = ConversationKeys(conversation.key)
        let listing = try await world.objects.list(prefix: keys.slots, after: nil, limit: 1_000)
        let count = conversation.events.count
        if listing.entries.count != count {
            add(.state, "\(conversation.id) has \(listing.entries.count) slots for \(count) events")
        }
        var slots: [Slot] = []
        for turn in 1...Int64(count) {
            guard let slot = try await store.slot(turn, of: keys) else { break }
            slots.append(slot)
        }
        checkChain(slots, conversation)
        checkOutboxes(slots, conversation, visible)
        if let newest = slots.last, slots.count == count {
            try await check(newest.state, conversation)
        }
    }

    private mutating func checkChain(_ slots: [Slot], _ conversation: ChaosLoad.Conversation) {
        var before: String?
        for (slot, event) in zip(slots, conversation.events) {
            let name = "\(conversation.id) turn \(slot.state.turn)"
            if slot.state.hash != slot.stateHash { add(.state, "\(name): another state than its hash") }
            if slot.previous != before { add(.state, "\(name) does not follow the slot before") }
            if slot.events.map(\.id) != [event.id] {
                add(.state, "\(name) is of \(slot.events.map(\.id)), not \(event.id)")
            }
            before = slot.stateHash
        }
    }

    /// Every visible record is in the outbox of its turn's slot, and every outbox is visible, in order.
    private mutating func checkOutboxes(
        _ slots: [Slot],
        _ conversation: ChaosLoad.Conversation,
        _ visible: Visible
    ) {
        for (topic, records) in [("replies", visible.replies), ("turns", visible.turns)] {
            let said = slots.flatMap(\.outbox).filter { $0.topic == topic }.map(\.value.bytes)
            let seen = records.map(\.value)
            let saidOnes = Set(said)
            let seenOnes = Set(seen)
            for (index, value) in seen.enumerated() where !saidOnes.contains(value) {
                add(.orphan, "\(conversation.id): \(topic) record \(index) is in no slot")
            }
            for (index, value) in said.enumerated() where !seenOnes.contains(value) {
                add(.silent, "\(conversation.id): \(topic) record \(index) of its slots is not visible")
            }
        }
    }

    private mutating func check(
        _ state: ConversationState,
        _ conversation: ChaosLoad.Conversation
    ) async throws {
        let name = conversation.id
        if state.memory != conversation.memory { add(.state, "\(name) remembers \(state.memory)") }
        if state.turn != Int64(conversation.events.count) { add(.state, "\(name) is at turn \(state.turn)") }
        // A person's words, the assistant's call, the tool's result, the assistant's words.
        if state.entryCount != 4 * Int64(conversation.events.count) {
            add(.state, "\(name) has \(state.entryCount) entries")
        }
        let said = zip(conversation.events, conversation.answers).flatMap { event, answer in
            [event.data.message?.text ?? "", answer]
        }
        let heard = state.entries.filter { $0.role != .tool && !$0.text.isEmpty }.map(\.text)
        if heard.isEmpty || heard != Array(said.suffix(heard.count)) {
            add(.state, "\(name) heard \(heard.suffix(6))")
        }
        for event in conversation.events.suffix(RecentKeys.capacity)
        where !state.recent.contains(event.dedupekey) {
            add(.state, "\(name) does not know \(event.dedupekey) any more")
        }
        try await checkWorkspace(state.workspace, conversation)
    }

    /// The skill's file holds the count, and nothing else is there.
    private mutating func checkWorkspace(_ hash: String?, _ conversation: ChaosLoad.Conversation) async throws
    {
        guard conversation.count > 0 else {
            if hash != nil { add(.state, "\(conversation.id) has files") }
            return
        }
        guard let hash, let object = try await world.objects.get(ConversationKeys.blob(hash)) else {
            add(.state, "\(conversation.id) has no files")
            return
        }
        let tree = try WorkspaceTree(json: object.body)
        let wanted = SHA256.hex(Array("\(conversation.count)\n".utf8))
        if tree.entries.count != 1 || tree.blobs != [wanted] {
            add(.state, "\(conversation.id) has other files than a count of \(conversation.count)")
        }
    }

    /// The group has done every event, and on the embedded log, whose offsets have no gaps, nothing else.
    private mutating func checkProgress() async throws {
        for event in try await world.undone() { add(.abandoned, "\(event) is not done") }
        guard !world.engine.isKafka else { return }
        let bounds = try await world.log.bounds(of: world.prefix + EventsTopic.topic.name)
        for (progress, bounds) in zip(try await world.progress(), bounds)
        where progress.low != bounds.next || !progress.doneAbove.isEmpty {
            add(.abandoned, "done up to \(progress.low) of \(bounds.next), and \(progress.doneAbove)")
        }
    }
}
