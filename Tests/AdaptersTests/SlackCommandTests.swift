import Adapters
import Pipeline
import Testing
import Topics

@Suite("Slack: commands and interactions")
struct SlackCommandTests {
    private static let form =
        "command=%2Fweather&text=Berlin+%26+Paris&team_id=T1&channel_id=C1&user_id=U1&user_name=ann"
        + "&api_app_id=A1&trigger_id=1.2.abc&is_enterprise_install=false&enterprise_id="

    @Test("a slash command becomes an event addressed to the agent, and is acknowledged at once")
    func command() throws {
        let request = SlackSupport.signed(Array(Self.form.utf8), path: "/v1/slack/commands")
        let reception = try SlackSupport.adapter().receive(request, at: someTime)

        let event = try #require(reception.events.first)
        #expect(reception.response.status == 200)
        #expect(event.type == .commandInvoked)
        #expect(event.data.command == EventCommand(name: "weather", arguments: "Berlin & Paris"))
        #expect(event.data.message?.text == "/weather Berlin & Paris")
        #expect(event.data.message?.addressed == .direct)
        #expect(event.dedupekey == "slack:T1:1.2.abc")
        #expect(event.partitionkey == "slack:T1/A1:C1")
    }

    @Test(
        "a form that is broken or lacks a field is refused, naming the field",
        arguments: ["command=%2Fx", "command=%zz", "command=%ff", ""]
    )
    func broken(form: String) {
        let request = SlackSupport.signed(Array(form.utf8), path: "/v1/slack/commands")
        do throws(ReceiveError) {
            _ = try SlackSupport.adapter().receive(request, at: someTime)
            Issue.record("it was accepted")
        } catch {
            #expect(error.kind == .malformed)
            #expect(error.detail == "the body is not a form" || error.detail.contains("is missing"))
        }
    }

    @Test("an interaction is refused so that the person sees it, and nothing is appended")
    func interaction() throws {
        let form = Array("payload=%7B%22type%22%3A%22block_actions%22%7D".utf8)
        let request = SlackSupport.signed(form, path: "/v1/slack/interactions")
        let reception = try SlackSupport.adapter().receive(request, at: someTime)
        #expect(reception.response.status == 501)
        #expect(reception.events.isEmpty)
        #expect(reception.ignored == ["interactions_unsupported"])
    }
}
