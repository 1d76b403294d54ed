import JSON
package import Pipeline
import Topics

/// `GET /v1/replies`: the replies of one conversation, waiting for the next one when there is none yet.
///
/// `conversation` is the key that `/v1/events` answered with; `after` the `next` of the answer before (all
/// that the log keeps when it is missing); `wait` 0 to 60 s, 30 when it is missing.
package struct RepliesEndpoint: Sendable {
    package static let path = "/v1/replies"

    private let access: EventsAccess
    private let replies: ReplyFeed
    private let time: TimeSource

    package init(access: EventsAccess, replies: ReplyFeed, time: TimeSource) {
        self.access = access
        self.replies = replies
        self.time = time
    }

    /// Should be cancelled when the reader leaves.
    package func answer(_ request: HTTPRequest) async -> HTTPResponse {
        guard request.method == "GET" else { return .methodNotAllowed(["GET"]) }
        do throws(ReceiveError) {
            _ = try access.check(request, at: time.now())
            let question = try RepliesQuestion(request)
            return try await answer(question)
        } catch {
            return error.response(allowing: ["GET"])
        }
    }

    private func answer(_ question: RepliesQuestion) async throws(ReceiveError) -> HTTPResponse {
        let signal = Signal()
        let watcher = replies.watch(question.conversation, from: question.after, with: signal)
        defer { replies.unwatch(watcher) }
        let result = await withTaskGroup(of: Void.self) { group in
            group.addTask {
                // Cancelled when there is an answer before the time is over.
                try? await time.sleep(.seconds(question.wait))
                signal.finish()
            }
            defer { group.cancelAll() }
            return await Self.first(of: watcher, signal)
        }
        switch result {
        case .success(let found): return Self.response(found, next: watcher.position)
        case .failure: throw ReceiveError(.unavailable, "the log cannot be read now")
        }
    }

    /// The first replies there are; none when the signal is finished before.
    private static func first(
        of watcher: ReplyWatcher,
        _ signal: Signal
    ) async -> Result<[PlacedReply], EventLogError> {
        do throws(EventLogError) {
            var found = try await watcher.next()
            guard found.isEmpty else { return .success(found) }
            for await _ in signal.raised {
                found = try await watcher.next()
                if !found.isEmpty { break }
            }
            return .success(found)
        } catch {
            return .failure(error)
        }
    }

    private static func response(_ found: [PlacedReply], next: Int64) -> HTTPResponse {
        let replies = found.map { placed in
            JSONValue.object([
                "conversation": .string(placed.reply.conversation),
                "created_at": .string(placed.reply.createdAt.rfc3339),
                "format": .string(placed.reply.format.rawValue),
                "handle": .string(placed.reply.handle),
                "in_response_to": .string(placed.reply.inResponseTo),
                "reply_id": .string(placed.reply.replyID),
                "text": .string(placed.reply.text),
            ])
        }
        var response = HTTPResponse.json(200, ["next": .string("\(next)"), "replies": .array(replies)])
        response.fields["Cache-Control"] = "no-store"
        return response
    }
}

private struct RepliesQuestion {
    let conversation: String
    let after: Int64
    let wait: Int

    init(_ request: HTTPRequest) throws(ReceiveError) {
        guard let query = FormBody(queryOf: request.target) else {
            throw ReceiveError(.malformed, "the query cannot be read")
        }
        guard let conversation = query["conversation"], conversation.utf8.count <= 1_024,
            let colon = conversation.firstIndex(of: ":")
        else {
            throw ReceiveError(.malformed, "conversation: missing, or not a key such as webhook:/my/irc:#ops")
        }
        guard CloudEvents.isOpen(String(conversation[..<colon])) else {
            throw ReceiveError(
                .forbidden,
                "conversation: only those of webhook and x-… platforms can be read here"
            )
        }
        guard let after = Int64(strictly: query["after"] ?? "0") else {
            throw ReceiveError(.malformed, "after: not the `next` of an answer")
        }
        guard let wait = Int(strictly: query["wait"] ?? "30"), wait <= 60 else {
            throw ReceiveError(.malformed, "wait: not a number of seconds from 0 to 60")
        }
        self.conversation = conversation
        self.after = after
        self.wait = wait
    }
}
