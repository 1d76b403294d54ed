import Foundation
import JSON
import Pipeline
import Topics

/// Reads the log and the store after a kill loop and counts what is not as it must be.
struct KillLoopCheck {
    private(set) var problems: [String] = []
    private(set) var turnCount = 0
    private(set) var eventCount = 0
    private let loop: KillLoop

    init(_ loop: KillLoop) async throws {
        self.loop = loop
        let events = try await loop.world.events()
        let turns = try await loop.world.turns()
        let replies = try await loop.world.replies()
        let letters = try await loop.world.deadLetters()
        eventCount = events.count
        turnCount = turns.count
        let ids = Set(events.map(\.id))
        for id in loop.acknowledged where !ids.contains(id) {
            problems.append("acknowledged and not on the log: \(id)")
        }
        for letter in letters { problems.append("a dead letter: \(letter.reason) \(letter.detail)") }
        if Set(replies.map(\.replyID)).count != replies.count { problems.append("a reply_id is there twice") }
        let keys = Set(events.map(\.partitionkey))
        let expected = loop.scripts.reduce(0) { $0 + $1.texts.count }
        if keys.count != loop.scripts.count { problems.append("\(keys.count) conversations") }
        if turns.count != expected { problems.append("\(turns.count) turns, not \(expected)") }
        if replies.count != expected { problems.append("\(replies.count) replies, not \(expected)") }
        for script in loop.scripts {
            let mine = events.filter { $0.data.conversation.id == script.channel }
            guard let key = mine.first?.partitionkey else {
                problems.append("\(script.channel): no event")
                continue
            }
            check(
                script,
                mine,
                turns.filter { $0.conversation == key },
                replies.filter { $0.conversation == key }
            )
            try await checkState(script, key, turns.filter { $0.conversation == key })
        }
        checkDeliveries()
    }

    /// Events, turns and replies are in the order of the log: one partition holds a conversation.
    private mutating func check(
        _ script: KillLoop.Script,
        _ events: [InboundEvent],
        _ turns: [TurnRecord],
        _ replies: [Reply]
    ) {
        let name = script.channel
        let order = script.texts.indices.map(KillLoop.ts)
        var firsts: [String] = []
        for event in events {
            let ts = event.data.message?.id ?? ""
            if !firsts.contains(ts) { firsts.append(ts) }
        }
        if firsts != order { problems.append("\(name): events on the log are \(firsts)") }
        let messages = Dictionary(events.map { ($0.id, $0.data.message?.id ?? "") }) { first, _ in first }
        let answered = replies.map { messages[$0.inResponseTo] ?? "?" }
        let lost = order.filter { !answered.contains($0) }
        if !lost.isEmpty { problems.append("\(name): lost \(lost)") }
        let doubled = order.filter { ts in answered.filter { $0 == ts }.count > 1 }
        if !doubled.isEmpty { problems.append("\(name): doubled \(doubled)") }
        if answered != order { problems.append("\(name): replies are in the order \(answered)") }
        if replies.map(\.text) != script.answers {
            problems.append("\(name): replies say \(replies.map(\.text))")
        }
        let turnEvents = turns.flatMap(\.events).map { messages[$0.id] ?? "?" }
        if turnEvents != order { problems.append("\(name): turns answered \(turnEvents)") }
        if turns.map(\.turn) != Array(1...Int64(order.count)) {
            problems.append("\(name): turns \(turns.map(\.turn))")
        }
        if turns.contains(where: { $0.outcome != .answered }) {
            problems.append("\(name): a turn gave no answer")
        }
        if turns.flatMap(\.replies) != replies.map(\.replyID) {
            problems.append("\(name): turns name other replies")
        }
    }

    /// The newest snapshot is what the messages make of an empty conversation, and its chain is whole.
    private mutating func checkState(_ script: KillLoop.Script, _ key: String, _ turns: [TurnRecord])
        async throws
    {
        let store = try loop.world.store
        let keys = ConversationKeys(key)
        guard let newest = try await store.newest(keys) else {
            problems.append("\(key): no snapshot")
            return
        }
        if newest.state.memory != script.memory {
            problems.append("\(key): remembers \(newest.state.memory)")
        }
        if newest.state.turn != Int64(script.texts.count) {
            problems.append("\(key): is at \(newest.state.turn)")
        }
        for turn in turns {
            guard let slot = try await store.slot(turn.turn, of: keys) else {
                problems.append("\(key): turn \(turn.turn) has no slot")
                continue
            }
            if slot.stateHash != turn.stateHash || slot.state.hash != slot.stateHash {
                problems.append("\(key): turn \(turn.turn) is not its slot")
            }
        }
        for (before, after) in zip(turns, turns.dropFirst()) where after.previousHash != before.stateHash {
            problems.append("\(key): turn \(after.turn) does not follow \(before.turn)")
        }
    }

    private mutating func checkDeliveries() {
        for script in loop.scripts {
            let posts = loop.world.platforms.posts.filter {
                $0.body["channel"]?.stringValue == script.channel
            }
            if posts.map(\.text) != script.answers {
                problems.append("\(script.channel): was told \(posts.map(\.text))")
            }
        }
    }
}
