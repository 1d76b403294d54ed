import Adapters
import Edge
import JSON
import Pipeline
import Telemetry

/// What our HTTP server answers: the channels, the web chat, replies, health and metrics.
struct Door: HTTPHandler {
    private let receive: ReceiveStage?
    private let replies: RepliesEndpoint?
    private let page: WebChatPage?
    private let stream: WebChatStream?
    private let health: HealthBoard

    /// `isIngress`: takes events and gives replies; else only health and metrics are served.
    init(_ composition: Composition, feed: ReplyFeed, health: HealthBoard, isIngress: Bool) {
        self.health = health
        guard isIngress else {
            (receive, replies, page, stream) = (nil, nil, nil, nil)
            return
        }
        receive = ReceiveStage(
            adapters: composition.adapters,
            log: composition.log,
            topicPrefix: composition.settings.topicPrefix,
            now: composition.time.now
        )
        replies = RepliesEndpoint(access: composition.access, replies: feed, time: composition.time)
        guard composition.hasWebChat else {
            (page, stream) = (nil, nil)
            return
        }
        let history = ConversationHistory(composition.store)
        page = WebChatPage(hosts: composition.hosts, replies: feed, secret: Secrets.random) {
            await history.messages(of: $0)
        }
        stream = WebChatStream(
            hosts: composition.hosts,
            replies: feed,
            live: composition.live,
            time: composition.time
        )
    }

    func handle(_ request: HTTPRequest, from peer: String) async -> HTTPAnswer {
        switch request.path {
        case "/health/live": return .whole(health.live)
        case "/health/ready": return .whole(health.ready)
        case "/health/started": return .whole(health.started)
        case "/metrics":
            let text = MetricsRegistry.shared.exposition()
            let fields: HTTPFields = ["Content-Type": "text/plain; version=0.0.4; charset=utf-8"]
            return .whole(HTTPResponse(status: 200, fields: fields, body: Array(text.utf8)))
        case RepliesEndpoint.path: if let replies { return .whole(await replies.answer(request)) }
        case "/": if let page { return .whole(page.page(request)) }
        case "/v1/chat/history": if let page { return .whole(await page.history(request)) }
        case WebChatStream.path: if let stream { return answer(stream.answer(request)) }
        default: break
        }
        guard let receive else { return .whole(.error(404, "nothing is served at this path")) }
        return .whole(await receive.answer(request))
    }

    func isCancellable(_ request: HTTPRequest) -> Bool { request.path == RepliesEndpoint.path }

    private func answer(_ answer: WebChatStream.Answer) -> HTTPAnswer {
        switch answer {
        case .refused(let response): return .whole(response)
        case .stream(let fields, let run):
            return .stream(status: 200, fields: fields) { body in
                // It throws when the reader has gone; there is nobody to tell.
                try? await run(BodyWriter(body: body))
            }
        }
    }

    private struct BodyWriter: StreamWriter {
        let body: HTTPBodyWriter

        func write(_ bytes: [UInt8]) async throws {
            guard await body.write(bytes), !Task.isCancelled else { throw CancellationError() }
        }
    }
}

/// The newest messages of a conversation, from its snapshot.
struct ConversationHistory: Sendable {
    private let store: TurnStore

    init(_ store: any ObjectStore) {
        self.store = TurnStore(store)
    }

    func messages(of conversation: String) async -> [ChatMessage] {
        // Without its history the page still works; what is wrong shows in the store's health.
        guard let slot = (try? await store.newest(ConversationKeys(conversation))) ?? nil else { return [] }
        return slot.state.entries.compactMap { entry in
            switch entry.role {
            case .user, .note:
                return ChatMessage(role: .user, text: entry.text, time: entry.time, id: entry.eventID)
            case .assistant where entry.toolCalls.isEmpty:
                let id = "\(conversation)/\(entry.turn)/0"
                return ChatMessage(role: .agent, text: entry.text, time: entry.time, id: id)
            default: return nil
            }
        }
    }
}
