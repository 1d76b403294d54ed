import JSON
package import Pipeline
import Topics

/// Takes the pieces of a response that goes on; throws when nobody listens any more.
package protocol StreamWriter: Sendable {
    func write(_ bytes: [UInt8]) async throws
}

/// `GET /v1/chat/stream`: committed replies and what the turn is doing, as server-sent events.
///
/// `reply` events carry the reply's place on the log as their id, so a browser that reconnects with
/// `Last-Event-ID` misses none. `turn` and `text` events are provisional and have no id.
package struct WebChatStream: Sendable {
    package static let path = "/v1/chat/stream"
    private static let heartbeat: Duration = .seconds(15)

    private let hosts: HostGuard
    private let replies: ReplyFeed
    private let live: LiveFeed
    private let time: TimeSource

    package init(hosts: HostGuard, replies: ReplyFeed, live: LiveFeed, time: TimeSource) {
        self.hosts = hosts
        self.replies = replies
        self.live = live
        self.time = time
    }

    package enum Answer: Sendable {
        case refused(HTTPResponse)
        /// Send 200 with the fields, then call `run` with a writer for the body until it returns or throws.
        case stream(HTTPFields, run: @Sendable (any StreamWriter) async throws -> Void)
    }

    package func answer(_ request: HTTPRequest) -> Answer {
        do throws(ReceiveError) {
            guard request.method == "GET" else {
                throw ReceiveError(.methodNotAllowed, "read the stream by GET")
            }
            try hosts.check(request)
            let conversation = WebChat.address(of: try WebChat.session(of: request)).conversationKey
            let start = try Self.start(of: request)
            let fields: HTTPFields = [
                "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store",
                "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
            ]
            return .stream(fields) { writer in try await run(conversation, from: start, to: writer) }
        } catch {
            return .refused(error.response(allowing: ["GET"]))
        }
    }

    /// The offset to start at: after the last event seen, or where the history said; nil for now.
    private static func start(of request: HTTPRequest) throws(ReceiveError) -> Int64? {
        if let last = request.fields["Last-Event-ID"], !last.isEmpty {
            guard let offset = Int64(strictly: last), offset < Int64.max else {
                throw ReceiveError(.malformed, "Last-Event-ID is not one of ours")
            }
            return offset + 1
        }
        guard let next = FormBody(queryOf: request.target)?["from"] else { return nil }
        guard let offset = Int64(strictly: next) else {
            throw ReceiveError(.malformed, "from is not a number")
        }
        return offset
    }

    private func run(
        _ conversation: String,
        from start: Int64?,
        to writer: any StreamWriter
    ) async throws {
        let signal = Signal()
        let from: Int64
        if let start { from = start } else { from = try await replies.end(of: conversation) }
        let watcher = replies.watch(conversation, from: from, with: signal)
        let watch = live.watch(conversation, with: signal)
        defer {
            replies.unwatch(watcher)
            live.unwatch(conversation, watch)
        }
        try await writer.write(Array("retry: 1000\n\n".utf8))
        // The first look comes without a signal: there may be something already.
        signal.raise()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pump(conversation, watcher, signal, to: writer) }
            group.addTask {
                while true {
                    try await time.sleep(Self.heartbeat)
                    signal.beat()
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func pump(
        _ conversation: String,
        _ watcher: ReplyWatcher,
        _ signal: Signal,
        to writer: any StreamWriter
    ) async throws {
        var shown = WebChatShown()
        for await _ in signal.raised {
            var output = signal.takeBeat() ? Array(": \n\n".utf8) : []
            // The turn before the replies: a reply that is committed in between then supersedes what is
            // shown.
            shown.update(to: live.current(conversation), writing: &output)
            for placed in try await watcher.next() {
                output += ServerSentEvent.bytes("reply", id: "\(placed.offset)", Self.json(placed.reply))
            }
            if !output.isEmpty { try await writer.write(output) }
        }
    }

    private static func json(_ reply: Reply) -> JSONValue {
        [
            "id": .string(reply.replyID),
            "in_response_to": .string(reply.inResponseTo),
            "text": .string(reply.text),
            "time": .string(reply.createdAt.rfc3339),
        ]
    }
}

/// What one browser has been told about the turn under way; writes only the difference.
private struct WebChatShown {
    private var turn: LiveTurn?

    mutating func update(to current: LiveTurn?, writing output: inout [UInt8]) {
        guard current != turn else { return }
        guard let current else {
            output += ServerSentEvent.bytes("turn", id: nil, ["state": "ended"])
            turn = nil
            return
        }
        let isNew = turn?.eventID != current.eventID
        let isReset = isNew || turn?.edition != current.edition
        if isNew || turn?.skills != current.skills {
            output += ServerSentEvent.bytes("turn", id: nil, Self.json(current))
        }
        let known = isReset ? 0 : turn?.text.count ?? 0
        if isReset || known < current.text.count {
            let more = String(decoding: current.text[min(known, current.text.count)...], as: UTF8.self)
            let part: JSONValue = ["append": .bool(!isReset), "text": .string(more)]
            output += ServerSentEvent.bytes("text", id: nil, part)
        }
        turn = current
    }

    private static func json(_ turn: LiveTurn) -> JSONValue {
        let skills = turn.skills.map { skill in
            let state = skill.succeeded.map { $0 ? "done" : "failed" } ?? "running"
            return JSONValue.object(["name": .string(skill.name), "state": .string(state)])
        }
        return [
            "in_response_to": .string(turn.eventID),
            "skills": .array(skills),
            "state": "running",
        ]
    }
}

enum ServerSentEvent {
    /// JSON has no line breaks, so it is one `data` line.
    static func bytes(_ event: String, id: String?, _ data: JSONValue) -> [UInt8] {
        let id = id.map { "id: \($0)\n" } ?? ""
        return Array("\(id)event: \(event)\ndata: ".utf8) + data.json + Array("\n\n".utf8)
    }
}
