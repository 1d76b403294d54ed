import Edge
import Foundation
import Network
import Pipeline
import Testing

@Suite("Streamed answers", .timeLimit(.minutes(1)))
struct StreamedAnswerTests {
    private struct AtOnce: HTTPHandler {
        func handle(_ request: HTTPRequest, from peer: String) async -> HTTPAnswer {
            .stream(status: 200, fields: [:]) { body in
                guard await body.write(Array("first ".utf8)) else { return }
                _ = await body.write(Array("second".utf8))
            }
        }
    }

    @Test("what a body writes before its first wait is sent, and the answer ends")
    func writesAtOnce() async throws {
        let server = HTTPServer(settings: HTTPServerSettings(host: "127.0.0.1", port: 0), handler: AtOnce())
        let port = try server.start()
        let transport = CurlTransport(transfersMax: 1, shards: 1, userAgent: "test")
        let limits = HTTPLimits(total: .seconds(10), silence: .seconds(10), bodyBytesMax: 1_024)

        let request = HTTPRequest(method: "GET", target: "http://127.0.0.1:\(port)/")
        let response = try await transport.send(request, limits: limits)

        #expect(String(decoding: response.body, as: UTF8.self) == "first second")
        await server.drain(within: .seconds(1))
    }
}
