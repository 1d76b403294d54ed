import Adapters
import Edge
import Foundation
import JSON
import Pipeline
import Testing

/// Our providers and the providers' own clients, asking the same server over HTTP.
@Suite("Interop: models", .serialized)
struct ModelInteropTests {
    static let transport = CurlTransport(transfersMax: 8, shards: 1, userAgent: "penstock-tests")

    static func models(_ base: String, _ model: String = "m", key: String = "right-key")
        -> [any ModelProvider]
    {
        let limits = HTTPLimits(total: .seconds(20), silence: .seconds(10), bodyBytesMax: 1 << 20)
        let remote = { (base: String) in
            RemoteModel(baseURL: base, model: model, transport: transport, limits: limits) { key }
        }
        return [OpenAIModel(remote("\(base)/v1")), AnthropicModel(remote(base))]
    }

    static let request = ModelRequest(
        system: "s",
        messages: [.user("hi")],
        tools: [ModelTool(name: "weather", description: "d", parameters: ["type": "object"])],
        outputTokensMax: 100
    )

    @Test("both providers understand an answer as the providers' own clients do")
    func sameAsTheirs() async throws {
        let python = try await PythonEnvironment.python()
        let server = try ModelServer(python)
        defer { server.stop() }
        let base = try await server.address()

        let theirs = try await PythonEnvironment.run(
            python,
            [PythonEnvironment.scripts.appending(path: "models.py").path, "check", base]
        )
        let lines = theirs.output.split(separator: "\n")
        try #require(theirs.status == 0 && lines.count == 2)

        for (model, line) in zip(Self.models(base), lines) {
            let their = try JSONValue(json: Array(line.utf8))
            let heard = Streamed()
            let ours = try await model.respond(to: Self.request) { await heard.take($0) }
            #expect(ours.text == their["text"]?.stringValue)
            #expect(await heard.text == ours.text)
            #expect(ours.toolCalls.count == 1 && ours.stop == .tools && ours.model == "m")
            #expect(ours.toolCalls.first?.id == their["call"]?.stringValue)
            #expect(ours.toolCalls.first?.name == their["tool"]?.stringValue)
            #expect(ours.toolCalls.first?.arguments == their["arguments"])
            #expect(ours.usage.inputTokens == 11 && their["input"] == 11)
            #expect(ours.usage.outputTokens == 7 && ours.usage.cachedTokens == 4)

            var next = Self.request
            next.messages.append(.assistant(ours.text, toolCalls: ours.toolCalls))
            next.messages.append(.toolResult(callID: "call_1", text: "sunny", isError: false))
            let last = try await model.respond(to: next) { _ in }
            #expect(last.stop == .end && last.toolCalls.isEmpty)
        }
    }

    @Test("a busy server, a wrong key and a broken stream are told apart")
    func failures() async throws {
        let server = try ModelServer(URL(filePath: "/usr/bin/env"), ["python3"])
        defer { server.stop() }
        let base = try await server.address()
        let cases: [([any ModelProvider], ModelError.Kind)] = [
            (Self.models(base, "busy"), .throttled(retryAfter: .seconds(7))),
            (Self.models(base, key: "wrong"), .permanent), (Self.models(base, "broken"), .transient),
            (Self.models("http://127.0.0.1:1"), .transient),
        ]
        for (models, kind) in cases {
            for model in models {
                let error = await #expect(throws: ModelError.self) {
                    try await model.respond(to: Self.request) { _ in }
                }
                #expect(error?.kind == kind)
            }
        }
    }
}

private actor Streamed {
    var text = ""

    func take(_ part: ModelPart) {
        if case .text(let more) = part { text += more }
    }
}

/// `models.py serve`, until it is stopped.
private final class ModelServer {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    init(_ program: URL, _ arguments: [String] = []) throws {
        let script = PythonEnvironment.scripts.appending(path: "models.py").path
        process.executableURL = program
        process.arguments = arguments + [script, "serve"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
    }

    func address() async throws -> String {
        let handle = output.fileHandleForReading
        let data = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: handle.availableData) }
        }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func stop() {
        // It ends when its input does.
        try? input.fileHandleForWriting.close()
        kill(process.processIdentifier, SIGKILL)
    }
}
