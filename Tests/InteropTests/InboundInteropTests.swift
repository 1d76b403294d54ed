import Adapters
import Foundation
import JSON
import Pipeline
import Testing
import Topics

@Suite("Beside the platforms' own libraries", .timeLimit(.minutes(5)))
struct InboundInteropTests {
    /// Where we differ on purpose, and how.
    private static let differences = [
        // bolt reads JSON before it verifies, and fails there; we verify, and then find that it is no JSON.
        "slack: not JSON": true,
        // bolt answers the probe without looking at its signature.
        "slack: forged ssl_check": false,
    ]

    @Test("what slack_sdk, slack_bolt, pywa, cloudevents and standardwebhooks sign or refuse, so do we")
    func inbound() async throws {
        let python = try await PythonEnvironment.python()
        let script = PythonEnvironment.scripts.appending(path: "inbound.py").path

        let outcome = try await PythonEnvironment.run(python, [script])

        #expect(outcome.status == 0)
        var count = 0
        for line in outcome.output.split(separator: "\n") {
            let request = try JSONValue(json: Array(line.utf8))
            let name = "\(request["adapter"]?.stringValue ?? ""): \(request["name"]?.stringValue ?? "")"
            let expected = Self.differences[name] ?? request["accepted"]?.boolValue
            #expect(try accepts(request) == expected, "\(name)")
            count += 1
        }
        #expect(count >= 23)
    }

    private func accepts(_ line: JSONValue) throws -> Bool {
        var request = HTTPRequest(
            method: line["method"]?.stringValue ?? "",
            target: line["target"]?.stringValue ?? ""
        )
        for (name, value) in line["headers"]?.objectValue ?? [:] {
            request.fields.append(name, value.stringValue ?? "")
        }
        request.body = Base64.decode(line["body"]?.stringValue ?? "") ?? []
        let now = Timestamp(milliseconds: (line["at"]?.integerValue ?? 0) * 1_000)
        let adapter = try #require(Channels.all()[line["adapter"]?.stringValue ?? ""])
        do throws(ReceiveError) {
            let reception = try adapter.receive(request, at: now)
            if let event = reception.events.first, request.path == "/v1/events" {
                #expect(event.dedupekey == "ce:/my/irc:a é\"%")
                #expect(event.data.message?.text == "Grüße 😀")
                #expect(event.data.sender.id == "böb")
            }
            return true
        } catch {
            return error.kind != .unauthenticated
        }
    }

    @Test("CloudEvents' own library reads our records, and they are as the schema says")
    func kafka() async throws {
        let python = try await PythonEnvironment.python()
        let body =
            #"{"specversion":"1.0","id":"7","source":"/s","type":"message.created","hop":2,"data":"#
            + #"{"conversation":{"id":"ümläut €"},"sender":{"id":"b"},"message":{"text":"Grüße\n😀"}}}"#
        let request = HTTPRequest(
            method: "POST",
            target: "/v1/events",
            fields: ["Content-Type": "application/json", "Host": "localhost"],
            body: Array(body.utf8)
        )
        let reception = try Channels.openEvents().receive(
            request,
            at: Timestamp(milliseconds: 1_700_000_000_000)
        )
        let event = try #require(reception.events.first)
        let record = event.record(topic: "penstock.events")
        var headers: [String: JSONValue] = [:]
        for header in record.headers {
            headers[header.name] = .string(String(decoding: header.value, as: UTF8.self))
        }
        let line = JSONValue.object([
            "headers": .object(headers), "key": .string(String(decoding: record.key, as: UTF8.self)),
            "value": .string(String(decoding: record.value, as: UTF8.self)),
        ])
        let schema = PythonEnvironment.root.appending(path: "Topics/Schemas/event.schema.json").path
        let script = PythonEnvironment.scripts.appending(path: "kafka.py").path

        let outcome = try await PythonEnvironment.run(
            python,
            [script, schema],
            input: String(decoding: line.json, as: UTF8.self) + "\n"
        )

        #expect(outcome.status == 0)
        let seen = try JSONValue(json: Array(outcome.output.utf8))
        #expect(seen["attributes"]?["id"]?.stringValue == event.id)
        #expect(seen["attributes"]?["type"] == "dev.penstock.message.created")
        #expect(seen["attributes"]?["partitionkey"] == "webhook:/s:ümläut €")
        #expect(seen["attributes"]?["hop"] == "2")
        #expect(try JSONValue(json: record.value) == seen["data"])
    }
}

/// Adapters with the secrets that the scripts know.
enum Channels {
    private static let chance = ChanceSource(
        identifier: { UUID().uuidString.lowercased() },
        fraction: { 0.5 }
    )

    static func all() -> [String: any ChannelAdapter] {
        [
            "slack": slack(base: "http://unused"), "whatsapp": whatsApp(base: "http://unused"),
            "events": events(),
        ]
    }

    static func slack(base: String) -> Slack {
        let settings = Slack.Settings(
            apiBase: base,
            signingSecrets: { ["8f742231b10e8888abcd99yyyzzz85a5"] },
            botTokens: { ["xoxb-test"] }
        )
        return Slack(settings: settings, chance: chance)
    }

    static func whatsApp(base: String) -> WhatsApp {
        let settings = WhatsApp.Settings(
            apiBase: base,
            appSecrets: { ["app-secret"] },
            verifyTokens: { ["verify-me"] },
            accessTokens: { ["EAAtest"] }
        )
        return WhatsApp(settings: settings, chance: chance)
    }

    private static func events() -> CloudEvents {
        let access = EventsAccess(
            tokens: { [] },
            secrets: { ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] },
            admitsAnyone: false,
            hosts: HostGuard(names: [])
        )
        return CloudEvents(access: access, chance: chance)
    }

    static func openEvents() -> CloudEvents {
        let access = EventsAccess(
            tokens: { [] },
            secrets: { [] },
            admitsAnyone: true,
            hosts: HostGuard(names: [])
        )
        return CloudEvents(access: access, chance: chance)
    }
}
