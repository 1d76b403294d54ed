import Crypto
import Edge
import JSON
import Pipeline

/// `penstock send`: a message to the running pipeline, as any adapter would send it.
enum SendCommand {
    static let command = Command(
        name: "send",
        summary: "gives the running pipeline a message and shows the answer",
        operands: "TEXT",
        operandCount: 1...1,
        discussion:
            "Sends a CloudEvent to POST /v1/events of the pipeline that runs on the same data folder.",
        examples: [
            ("penstock send \"/help\"", "sends and waits for the answer"),
            ("penstock send --conversation ops --no-wait \"/remember color blue\"", "sends only"),
        ],
        options: [
            .value("conversation", "ID", "which conversation; default cli"),
            .value("sender", "ID", "who says it; default cli"),
            .value("to", "URL", "another pipeline: http://host:port"),
            .value("id", "ID", "the event's id; the same id twice is one event. Default: a new one"),
            .value("wait", "SECONDS", "how long to wait for the answer; default 60"),
            .flag("no-wait", "return once the event is durable"),
        ],
        run: { invocation in try await send(invocation) }
    )

    private static let limits = HTTPLimits(total: .seconds(75), silence: .seconds(70), bodyBytesMax: 16 << 20)

    private static func send(_ invocation: Invocation) async throws -> Int32 {
        let settings = try SettingsFile.load(invocation)
        let base = try base(invocation, settings)
        let transport = CurlTransport(transfersMax: 4, shards: 1, userAgent: "penstock/\(Penstock.version)")
        let wait = try invocation.integer("wait", in: 1...3_600, default: 60)
        var fields: HTTPFields = ["Content-Type": "application/cloudevents+json"]
        if let token = settings.events.token {
            fields.append("Authorization", "Bearer \(try token.value())")
        }
        let event = event(invocation)
        let request = HTTPRequest(
            method: "POST",
            target: "\(base)/v1/events",
            fields: fields,
            body: event.json
        )
        let response: HTTPResponse
        do {
            response = try await transport.send(request, limits: limits)
        } catch {
            throw Failure(
                "\(base) does not answer (\(error.detail)). Is the pipeline running? Start it: penstock run"
            )
        }
        let answer = String(decoding: response.body, as: UTF8.self)
        guard response.status == 202 else { throw Failure("\(base) answered \(response.status): \(answer)") }
        let accepted = (try? JSONValue(json: response.body))?["accepted"]?[0]
        // An answer of another shape has no id to wait for; it is shown as it is.
        guard let id = accepted?["id"]?.stringValue, let conversation = accepted?["conversation"]?.stringValue
        else { throw Failure("\(base) answered \(answer)") }
        if invocation.has("no-wait") {
            invocation.isJSON ? Terminal.json(["id": .string(id)]) : Terminal.line("durable: \(id)")
            return 0
        }
        return try await waitForReply(
            to: id,
            in: conversation,
            base,
            fields,
            transport,
            wait,
            invocation.isJSON
        )
    }

    private static func base(_ invocation: Invocation, _ settings: Settings) throws -> String {
        if let to = invocation.value("to") { return to.hasSuffix("/") ? String(to.dropLast()) : to }
        guard let bytes = Files.read("\(settings.data)/http.port"),
            let port = UInt16(String(decoding: bytes, as: UTF8.self).split(separator: "\n").first ?? "")
        else { throw Failure("no pipeline runs on \(settings.data). Start it: penstock run") }
        return "http://\(settings.isLoopback ? settings.host : "127.0.0.1"):\(port)"
    }

    private static func event(_ invocation: Invocation) -> JSONValue {
        let sender = invocation.value("sender") ?? "cli"
        return [
            "specversion": "1.0",
            "id": .string(invocation.value("id") ?? ChanceSource.system.identifier()),
            "source": "/cli",
            "type": "message.created",
            "data": [
                "conversation": ["id": .string(invocation.value("conversation") ?? "cli"), "kind": "dm"],
                "sender": ["id": .string(sender), "kind": "human"],
                "message": ["text": .string(invocation.operands[0])],
            ],
        ]
    }

    private static func waitForReply(
        to id: String,
        in conversation: String,
        _ base: String,
        _ fields: HTTPFields,
        _ transport: CurlTransport,
        _ seconds: Int,
        _ isJSON: Bool
    ) async throws -> Int32 {
        let end = ContinuousClock.now + .seconds(seconds)
        var next: String?
        while ContinuousClock.now < end {
            let left = max(1, min(30, Int((end - .now).components.seconds)))
            var target =
                "\(base)/v1/replies?conversation=\(ConversationKeys.escaped(conversation))&wait=\(left)"
            if let next { target += "&after=\(next)" }
            let request = HTTPRequest(method: "GET", target: target, fields: fields)
            let response = try await transport.send(request, limits: limits)
            guard response.status == 200 else {
                throw Failure(
                    "\(base) answered \(response.status): \(String(decoding: response.body, as: UTF8.self))"
                )
            }
            let page = try JSONValue(json: response.body)
            for reply in page["replies"]?.arrayValue ?? [] where reply["in_response_to"]?.stringValue == id {
                isJSON ? Terminal.json(reply) : Terminal.line(reply["text"]?.stringValue ?? "")
                return 0
            }
            next = page["next"]?.stringValue
        }
        throw Failure("no answer within \(seconds) s; the event \(id) is durable and will be answered")
    }
}
