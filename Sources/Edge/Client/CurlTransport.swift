package import Pipeline

/// HTTP requests by libcurl. One transport is one pool of connections with its own limit; make one for each
/// purpose.
package final class CurlTransport: HTTPTransport {
    private let engine: CurlEngine

    /// `transfersMax`: requests under way at a time; more wait their turn, first come first served.
    /// `shards`: 1 for up to about 500 transfers, then one more for every 500.
    package init(transfersMax: Int, shards: Int, userAgent: String, proxy: String? = nil) {
        engine = CurlEngine(
            shards: shards,
            transfersMax: transfersMax,
            setup: CurlSetup(userAgent: userAgent, proxy: proxy)
        )
    }

    package func send(_ request: HTTPRequest, limits: HTTPLimits) async throws(HTTPTransportError)
        -> HTTPResponse
    {
        try await run(request, limits, isStreaming: false) { _ in nil }
    }

    package func stream(
        _ request: HTTPRequest,
        limits: HTTPLimits,
        receive: @Sendable ([UInt8]) async throws -> Void
    ) async throws(HTTPTransportError) -> HTTPResponse {
        try await run(request, limits, isStreaming: true) { transfer in
            while let piece = await transfer.nextPiece() {
                do {
                    try await receive(piece)
                } catch {
                    transfer.cancel()
                    return HTTPTransportError(.cancelled, "the receiver stopped: \(error)")
                }
            }
            return nil
        }
    }

    private func run(
        _ request: HTTPRequest,
        _ limits: HTTPLimits,
        isStreaming: Bool,
        _ body: (CurlTransfer) async -> HTTPTransportError?
    ) async throws(HTTPTransportError) -> HTTPResponse {
        let transfer = CurlTransfer(request, limits: limits, isStreaming: isStreaming, engine: engine)
        let outcome = await withTaskCancellationHandler {
            engine.start(transfer)
            let failure = await body(transfer)
            let outcome = await transfer.outcome()
            return failure.map { .failure($0) } ?? outcome
        } onCancel: {
            transfer.cancel()
        }
        switch outcome {
        case .response(let response): return response
        case .failure(let error): throw error
        }
    }
}
