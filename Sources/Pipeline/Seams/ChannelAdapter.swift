package import Topics

/// One platform: turns its requests into events, and replies into its requests. Owns no socket and no state.
package protocol ChannelAdapter: Sendable {
    /// The value of `data.platform` in its events and of `platform` in replies to them.
    var platform: String { get }

    /// What ingress serves for it; other methods on these paths are 405.
    var routes: [ChannelRoute] { get }

    /// Whether it delivers replies to that platform: its own, and for a generic adapter a family of names.
    func serves(_ platform: String) -> Bool

    /// Verifies the raw bytes and normalizes. Pure: the same request at the same time gives the same
    /// reception but for event ids. Nothing is appended when it throws.
    func receive(_ request: HTTPRequest, at now: Timestamp) throws(ReceiveError) -> Reception

    /// Sends one chunk of a reply, one request at a time. Never sends twice by itself.
    func deliver(_ delivery: Delivery, over transport: any HTTPTransport) async -> DeliveryResult

    /// Pieces that the reply must be sent in, in order; at least one. Pure.
    func chunks(of reply: Reply) -> [String]

    /// Asks the platform whether a delivery whose outcome is unknown arrived. `.ambiguous` when it cannot
    /// tell.
    func reconcile(_ delivery: Delivery, over transport: any HTTPTransport) async -> DeliveryResult
}

extension ChannelAdapter {
    package func serves(_ platform: String) -> Bool { platform == self.platform }
}

package struct ChannelRoute: Sendable, Hashable {
    package let path: String
    package let methods: [String]

    package init(_ path: String, _ methods: [String]) {
        self.path = path
        self.methods = methods
    }
}

package struct Reception: Sendable {
    /// To be appended to the events topic, in order, before `response` is given.
    package var events: [InboundEvent]
    /// To be appended to the receipts topic likewise.
    package var receipts: [Receipt]
    /// Elements understood and left out on purpose, a constant word each (`self`, `unsupported_field`).
    package var ignored: [String]
    /// For the platform, once everything is durable.
    package var response: HTTPResponse
    /// Instead of `response`, when it tells the ids under which the events are on the log, in their order.
    package var respond: (@Sendable (_ ids: [String]) -> HTTPResponse)?

    package init(
        events: [InboundEvent] = [],
        receipts: [Receipt] = [],
        ignored: [String] = [],
        response: HTTPResponse
    ) {
        self.events = events
        self.receipts = receipts
        self.ignored = ignored
        self.response = response
    }
}

package struct ReceiveError: Error, Hashable {
    package enum Kind: Sendable {
        /// 401: no or wrong signature, or a stale timestamp.
        case unauthenticated
        /// 403: a verification request with a wrong token.
        case forbidden
        /// 400
        case malformed
        /// 405
        case methodNotAllowed
        /// 415
        case unsupportedMediaType
        /// 503: a secret cannot be read, for example.
        case unavailable
    }

    package let kind: Kind
    /// For the log and for the sender: never a body, a token or a signature.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}

package struct Delivery: Sendable {
    package let reply: Reply
    /// Index and text of the chunk.
    package let chunk: Int
    package let text: String
    /// The same for every attempt at this chunk: `<reply id>/<chunk>`.
    package var idempotencyKey: String { "\(reply.replyID)/\(chunk)" }

    package init(reply: Reply, chunk: Int, text: String) {
        self.reply = reply
        self.chunk = chunk
        self.text = text
    }
}

package enum DeliveryResult: Sendable, Hashable {
    /// The platform has it, under this id of its own.
    case confirmed(platformID: String)
    /// Not sent, and not by trying again either; `code` is the platform's word for it.
    case failed(code: String, reason: String)
    /// Not sent; again no sooner than `after` (nil: our own backoff). `throttled` does not count as an
    /// attempt.
    case retry(after: Duration?, throttled: Bool, reason: String)
    /// Sent perhaps: no answer came.
    case ambiguous(reason: String)
    /// From `reconcile` only: surely not there.
    case absent
}
