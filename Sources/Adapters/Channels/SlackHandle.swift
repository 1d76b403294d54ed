import JSON
import Topics

/// Where an answer goes: `reply.handle`, as JSON.
struct SlackHandle {
    let channel: String
    let thread: String?

    static let charactersMax = 4_000

    init(channel: String, thread: String?) {
        self.channel = channel
        self.thread = thread
    }

    /// Nil when it is not a handle of ours.
    init?(_ handle: String) {
        guard let payload = Payload(object: Array(handle.utf8)), let channel = payload["channel"].word else {
            return nil
        }
        self.init(channel: channel, thread: payload["thread_ts"].word)
    }

    var reply: EventReply {
        var members: [String: JSONValue] = ["channel": .string(channel)]
        members["thread_ts"] = thread.map { .string($0) }
        return EventReply(handle: JSONValue.object(members).text, charactersMax: Self.charactersMax)
    }
}
