@testable import Adapters
import JSON
import Pipeline
import Testing
import Topics

@Suite("Text and events that nobody meant")
struct TextFuzzTests {
    private static let pieces = [
        "*", "**", "_", "~~", "`", "```", "\n", "\n\n", " ", "[", "](", ")", "<", ">", "<!channel>", "<@U1>",
        "&", "&amp;",
        "https://x.y/", "\\", "#", "# ", "- ", "> ", "word", "ß", "😀", "👩‍👩‍👧", "\u{301}", "\u{200D}", "\r\n",
        "\u{0}", "|", ". ",
    ]

    private static func text(_ random: inout SeededRandom, piecesMax: Int) -> String {
        (0..<Int.random(in: 0...piecesMax, using: &random)).map { _ in
            pieces.randomElement(using: &random) ?? ""
        }
        .joined()
    }

    @Test(
        "any Markdown is written, never as a mention of everybody, and cut within the limit without losing a word"
    )
    func markup() {
        var random = SeededRandom.fromEnvironment()
        for round in 0..<1_500 {
            let markdown = Self.text(&random, piecesMax: 300)
            let written = ChatMarkup(dialect: .slack).write(markdown)
            let hasBroadcast = written.contains("<!")
            #expect(!hasBroadcast, "seed \(random.seed), round \(round)")
            _ = ChatMarkup(dialect: .whatsApp).write(markdown)
            let unitsMax = Int.random(in: 40...200, using: &random)
            let chunks = TextChunks(unitsMax: unitsMax, keepsAngles: false).split(written)
            let areShort = chunks.allSatisfy { $0.utf16.count <= unitsMax }
            #expect(areShort, "seed \(random.seed), round \(round)")
            let visible = { (text: String) in
                // An accent on a space belongs to the space, and goes with it.
                text.unicodeScalars.filter {
                    !$0.properties.isWhitespace && !["`", "\u{301}", "\u{200D}"].contains($0)
                }
            }
            let isWhole = visible(chunks.joined()).elementsEqual(visible(written))
            #expect(isWhole, "seed \(random.seed), round \(round)")
        }
    }

    @Test("any mrkdwn is read")
    func reading() {
        var random = SeededRandom.fromEnvironment()
        for _ in 0..<1_500 {
            let text = SlackText(Self.text(&random, piecesMax: 200), me: "U1")
            let bytes = Array(text.text.utf8)
            for mention in text.mentions {
                let end = mention.offset + mention.length
                let name =
                    end <= bytes.count
                    ? String(decoding: bytes[mention.offset..<end], as: UTF8.self) : "beyond"
                #expect(name.hasPrefix("@"), "seed \(random.seed)")
            }
        }
    }

    @Test("long hostile text takes time in proportion")
    func linear() {
        for piece in ["*", "* a", "_", "*a ", "`", "[", "<", "**a ", "~~", "&", "\u{301}"] {
            let text = String(repeating: piece, count: 20_000 / piece.utf8.count)
            let clock = ContinuousClock()
            let time = clock.measure { _ = SlackSupport.adapter().chunks(of: Self.reply(text)) }
            #expect(time < .seconds(20), "\(piece)")
        }
    }

    private static func reply(_ text: String) -> Reply {
        var reply = Reply()
        reply.text = text
        return reply
    }

    @Test("any mutation of a CloudEvent is taken or refused with a reason")
    func cloudEvents() async throws {
        var random = SeededRandom.fromEnvironment()
        let access = EventsAccess(
            tokens: { [] },
            secrets: { [] },
            admitsAnyone: true,
            hosts: HostGuard(names: [])
        )
        let stage = ReceiveStage(
            adapters: [CloudEvents(access: access, chance: countingChance())],
            log: ListLog(),
            topicPrefix: "penstock.",
            now: { someTime }
        )
        let good = Array(
            (#"{"specversion":"1.0","id":"1","source":"/s","type":"message.created","time":"2026-01-31T09:30:00Z","#
                + #""hop":1,"data":{"conversation":{"id":"c","kind":"dm"},"sender":{"id":"b"},"#
                + #""message":{"text":"h\u00e9","mentions":[]},"reply":{"handle":"h"}}}"#).utf8
        )
        for round in 0..<3_000 {
            var body = good
            for _ in 0..<Int.random(in: 0...4, using: &random) { random.mutate(&body) }
            let request = HTTPRequest(
                method: "POST",
                target: "/v1/events",
                fields: ["Content-Type": "application/cloudevents+json", "Host": "localhost"],
                body: body
            )
            let response = await stage.answer(request)
            #expect([202, 400].contains(response.status), "seed \(random.seed), round \(round)")
            if response.status == 400 {
                let reason = try JSONValue(json: response.body)["error"]?.stringValue ?? ""
                #expect(reason.contains(": "), "seed \(random.seed), round \(round): \(reason)")
            }
        }
    }
}
