/// Sends HTTP requests to other people's servers. Adapters and models open no sockets: they get one of these.
///
/// Contract:
/// - A request is sent at most once: a connection that fails after the request may have been read by the
///   other side is `.interrupted`, never a silent second send. (GET and HEAD may be sent again on a new
///   connection when a kept one turns out to be closed.)
/// - Redirects are not followed; the 3xx response is returned.
/// - Any status is a response, not an error.
/// - Cancelling the calling task ends the transfer and throws `.cancelled`.
package protocol HTTPTransport: Sendable {
    /// Sends the request and returns the whole response.
    func send(_ request: HTTPRequest, limits: HTTPLimits) async throws(HTTPTransportError) -> HTTPResponse

    /// Sends the request; `receive` gets each piece of a 2xx body as it arrives, in order, one call at a
    /// time.
    ///
    /// The transfer waits (with bounded buffering) while `receive` runs. The returned response has an empty
    /// body when the status was 2xx, and the whole body otherwise. An error thrown by `receive` ends the
    /// transfer and arrives as `.cancelled`; the caller keeps its own error.
    func stream(
        _ request: HTTPRequest,
        limits: HTTPLimits,
        receive: @Sendable ([UInt8]) async throws -> Void
    ) async throws(HTTPTransportError) -> HTTPResponse
}

package struct HTTPLimits: Sendable, Hashable {
    /// From the call until the response is complete, waiting for a free connection included.
    package var total: Duration
    /// Longest silence between two pieces of the response; also the limit for connecting.
    package var silence: Duration
    /// Most bytes of the response body, counted after decompression.
    package var bodyBytesMax: Int

    package init(total: Duration, silence: Duration, bodyBytesMax: Int) {
        self.total = total
        self.silence = silence
        self.bodyBytesMax = bodyBytesMax
    }
}

package struct HTTPTransportError: Error, Hashable {
    package enum Kind: Sendable {
        /// Nothing was sent: name not resolved, connection or TLS refused. Safe to send again.
        case unreachable
        /// The request may have reached the other side; no complete answer came back.
        case interrupted
        /// A limit of `HTTPLimits` was passed; the request may have reached the other side.
        case limit
        /// The request itself cannot be sent (bad URL, control bytes in a header).
        case invalid
        case cancelled
    }

    package let kind: Kind
    /// What, where, and the other side's words; for the log.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
