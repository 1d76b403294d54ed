import JSON
import Pipeline
import Synchronization
import Testing

@testable import Adapters

@Suite("Models: errors and failover")
struct ModelErrorTests {
    struct Case: Sendable {
        var status: Int
        var body: String
        var fields: HTTPFields = HTTPFields()
        var kind: ModelError.Kind
    }

    @Test(
        "a refusal says whether to ask again, and when",
        arguments: [
            Case(
                status: 429,
                body: "",
                fields: ["Retry-After": "7"],
                kind: .throttled(retryAfter: .seconds(7))
            ),
            Case(
                status: 429,
                body: #"{"error":{"message":"slow","type":"requests","code":"rate_limit_exceeded"}}"#,
                fields: ["retry-after-ms": "250", "Retry-After": "1"],
                kind: .throttled(retryAfter: .milliseconds(250))
            ),
            Case(
                status: 429,
                body:
                    #"{"error":{"message":"no money","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                kind: .throttled(retryAfter: .seconds(60))
            ),
            Case(
                status: 529,
                body: #"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                kind: .throttled(retryAfter: nil)
            ),
            Case(status: 503, body: "<html>busy</html>", kind: .transient),
            Case(
                status: 503,
                body: "",
                fields: ["Retry-After": "3"],
                kind: .throttled(retryAfter: .seconds(3))
            ),
            Case(status: 500, body: #"{"error":{"type":"api_error","message":"oops"}}"#, kind: .transient),
            Case(
                status: 401,
                body: #"{"error":{"message":"bad key sk-secret-0123456789"}}"#,
                kind: .permanent
            ),
            Case(status: 404, body: #"{"error":"model not found"}"#, kind: .permanent),
            Case(status: 400, body: #"{"object":"error","message":"too long","code":400}"#, kind: .permanent),
            Case(status: 302, body: "", kind: .permanent),
        ]
    )
    func refusals(item: Case) async {
        for model in Self.both(StreamingTransport(status: item.status, item.body, fields: item.fields)) {
            let heard = await ModelSupport.ask(model)
            #expect(heard.error?.kind == item.kind)
            #expect(heard.parts.isEmpty)
            #expect(heard.error?.detail.contains(ModelSupport.key) == false)
            #expect(heard.error?.detail.contains("\(item.status)") == true)
        }
    }

    static func both(_ transport: any HTTPTransport) -> [any ModelProvider] {
        [OpenAIModel(ModelSupport.remote(transport)), AnthropicModel(ModelSupport.remote(transport))]
    }

    @Test(
        "a failed transfer is as transient as its reason",
        arguments: [
            (HTTPTransportError.Kind.unreachable, ModelError.Kind.transient), (.interrupted, .transient),
            (.limit, .transient), (.invalid, .permanent), (.cancelled, .cancelled),
        ]
    )
    func transfers(kind: HTTPTransportError.Kind, expected: ModelError.Kind) async {
        let transport = StreamingTransport([[UInt8]](), failure: HTTPTransportError(kind, "fake"))
        for model in Self.both(transport) {
            #expect(await ModelSupport.ask(model).error?.kind == expected)
        }
    }

    @Test("an error in the stream is one, after a 200")
    func inStream() async {
        let overloaded = #"data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#
        let plain = #"data: {"error":{"message":"out of memory","code":500}}"#
        let refused = #"data: {"error":{"message":"too long","type":"invalid_request_error"}}"#
        let cases: [(String, ModelError.Kind)] = [
            (overloaded, .throttled(retryAfter: nil)), (plain, .transient), (refused, .permanent),
        ]
        for (event, kind) in cases {
            let model = OpenAIModel(ModelSupport.remote(StreamingTransport("\(event)\n\n")))
            #expect(await ModelSupport.ask(model).error?.kind == kind)
        }
        let anthropic = AnthropicModel(
            ModelSupport.remote(StreamingTransport("event: error\n\(overloaded)\n\n"))
        )
        #expect(await ModelSupport.ask(anthropic).error?.kind == .throttled(retryAfter: nil))
    }

    @Test("a key that can not be read is named, and nothing is sent")
    func key() async {
        struct Missing: Error {}
        let transport = StreamingTransport("")
        let remote = RemoteModel(
            baseURL: "http://h",
            model: "m",
            transport: transport,
            limits: HTTPLimits(total: .seconds(1), silence: .seconds(1), bodyBytesMax: 1)
        ) { throw Missing() }
        #expect(await ModelSupport.ask(OpenAIModel(remote)).error?.kind == .permanent)
        #expect(await ModelSupport.ask(AnthropicModel(remote)).error?.kind == .permanent)
        #expect(transport.requests.isEmpty)
    }

    /// Says its words, then fails or answers.
    struct Scripted: ModelProvider {
        let name = "scripted"
        let determinism = ModelDeterminism.recorded
        var words = ""
        var failure: ModelError.Kind?

        func respond(
            to request: ModelRequest,
            part: @escaping @Sendable (ModelPart) async -> Void
        ) async throws(ModelError) -> ModelResponse {
            if !words.isEmpty { await part(.text(words)) }
            if let failure { throw ModelError(failure, words) }
            return ModelResponse(text: words, toolCalls: [], stop: .end, usage: ModelUsage(), model: "")
        }
    }

    @Test("the next model is asked, and what the one before said is declared void")
    func failover() async {
        let spoke = FailoverModel([Scripted(words: "On", failure: .transient), Scripted(words: "Two")])
        #expect(await ModelSupport.ask(spoke).parts == [.text("On"), .restart, .text("Two")])
        let mute = FailoverModel([Scripted(failure: .permanent), Scripted(words: "Two")])
        #expect(await ModelSupport.ask(mute).parts == [.text("Two")])
        let cancelled = FailoverModel([Scripted(failure: .cancelled), Scripted(words: "Two")])
        #expect(await ModelSupport.ask(cancelled).error?.kind == .cancelled)
    }

    @Test("when none answers, the most hopeful failure is told")
    func failoverEnds() async {
        let slow = ModelError.Kind.throttled(retryAfter: .seconds(9))
        let quick = ModelError.Kind.throttled(retryAfter: .seconds(2))
        let cases: [([ModelError.Kind], ModelError.Kind)] = [
            ([slow, quick], quick), ([.permanent, slow], slow), ([slow, .transient, .permanent], .transient),
            ([.permanent, .permanent], .permanent),
            ([slow, .throttled(retryAfter: nil)], .throttled(retryAfter: nil)),
        ]
        for (kinds, expected) in cases {
            let model = FailoverModel(kinds.map { Scripted(failure: $0) })
            #expect(await ModelSupport.ask(model).error?.kind == expected)
        }
    }
}
