import Pipeline
import Topics

/// Conversations, their events, and what a fold of the events alone says of the answers and of the state.
struct ChaosLoad: Sendable {
    struct Conversation: Sendable {
        let id: String
        var events: [InboundEvent] = []
        /// One for each event.
        var answers: [String] = []
        var memory: [String: String] = [:]
        /// How often `/count` was said.
        var count = 0
        private var said = 0

        init(id: String) {
            self.id = id
        }

        var key: String { "webhook:a:\(id)" }

        /// The next event: something to remember, something to recall, and now and then a skill that counts
        /// in a file. An answer depends on everything before it.
        mutating func say(counting: Bool) {
            let number = said
            said += 1
            let name = "k\(number % 3)"
            switch counting ? 2 : number % 2 {
            case 0:
                memory[name] = "v\(number)"
                add("/remember \(name) v\(number)", "I will remember that \(name) is v\(number).")
            case 1:
                let known = "k\((number - 1) % 3)"
                add("/recall \(known)", memory[known].map { "\(known) is \($0)." } ?? nothing(under: known))
            default:
                count += 1
                add("/count", "count is \(count)")
            }
        }

        private func nothing(under name: String) -> String {
            let known = memory.keys.sorted().joined(separator: ", ")
            return "I remember nothing under \(name)." + (known.isEmpty ? "" : " I know: \(known).")
        }

        private mutating func add(_ text: String, _ answer: String) {
            var data = EventData()
            data.platform = "webhook"
            data.account = EventAccount(id: "a")
            data.conversation = EventConversation(id: id, kind: .direct)
            data.sender = EventSender(id: "bob", kind: .human)
            data.reply = EventReply(handle: id)
            var message = EventMessage()
            message.id = "\(id)-\(events.count)"
            message.text = text
            data.message = message
            let time = Timestamp(milliseconds: 1_790_000_000_000 + Int64(events.count))
            events.append(
                InboundEvent(
                    id: "event-\(id)-\(events.count)",
                    type: .messageCreated,
                    time: time,
                    recordedtime: time,
                    dedupekey: "dedupe-\(id)-\(events.count)",
                    data: data
                )
            )
            answers.append(answer)
        }
    }

    private(set) var conversations: [Conversation]

    /// `countingEvery`: one in so many events runs the skill; 0 for none.
    init(ids: [String], events: Int, countingEvery: Int) {
        conversations = ids.map { id in
            var conversation = Conversation(id: id)
            for number in 0..<events {
                let isCount = countingEvery > 0 && number % countingEvery == countingEvery - 1
                conversation.say(counting: isCount)
            }
            return conversation
        }
    }

    var eventCount: Int { conversations.reduce(0) { $0 + $1.events.count } }

    /// The events of all conversations side by side, those of each in order.
    var interleaved: [InboundEvent] {
        let longest = conversations.map(\.events.count).max() ?? 0
        return (0..<longest).flatMap { number in
            conversations.compactMap { number < $0.events.count ? $0.events[number] : nil }
        }
    }

    /// Ids whose conversations are in these partitions of the events, one for each.
    static func ids(inPartitions partitions: [Int32], stem: String = "c") -> [String] {
        var number = 0
        return partitions.map { partition in
            while true {
                let id = "\(stem)\(number)"
                number += 1
                let key = Conversation(id: id).key
                let place = Partitioner.partition(of: Array(key.utf8), among: Topic.partitionsDefault)
                if place == partition { return id }
            }
        }
    }
}
