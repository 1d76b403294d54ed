@testable import Adapters
import Testing

@Suite("Text for platforms")
struct TextTests {
    @Test(
        "Markdown becomes mrkdwn",
        arguments: [
            ("**bold** and *it* and ~~no~~", "*bold* and _it_ and ~no~"),
            ("# Title **x**", "*Title x*"), ("- one\n* two\n  - three", "• one\n• two\n  • three"),
            ("[docs](https://x.example/a_b?c=1&d=2)", "<https://x.example/a_b?c=1&amp;d=2|docs>"),
            ("`a < b && *c*`", "`a &lt; b &amp;&amp; *c*`"),
            ("```swift\nlet a = \"<b>\" // **x**\n```", "```\nlet a = \"&lt;b&gt;\" // **x**\n```"),
            ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
            ("***both***", "*_both_*"), ("\\*not\\*", "*not*"), ("> said", "&gt; said"),
            ("see https://x.example/a_b_c now", "see https://x.example/a_b_c now"),
            ("**unclosed", "**unclosed"), ("", ""), ("ask <@U12AB> in <#C12>", "ask <@U12AB> in <#C12>"),
            ("```\nnot closed", "```\nnot closed\n```"),
        ]
    )
    func slack(markdown: String, expected: String) {
        #expect(ChatMarkup(dialect: .slack).write(markdown) == expected)
    }

    @Test(
        "nothing that a model writes notifies a channel",
        arguments: [
            "<!channel>", "<!here|x>", "<!everyone>", "<!subteam^S1>", "<@U1|<!channel>>", "[x](<!channel>)",
        ]
    )
    func noBroadcast(markdown: String) {
        #expect(!ChatMarkup(dialect: .slack).write(markdown).contains("<!"))
    }

    @Test("Markdown becomes WhatsApp's markup")
    func whatsApp() {
        let written = ChatMarkup(dialect: .whatsApp).write("**b** [d](https://x.example) a & b <c>")
        #expect(written == "*b* d (https://x.example) a & b <c>")
    }

    @Test("a long text is cut at paragraphs, lines, sentences or words, and loses only white space")
    func cuts() {
        let paragraph = String(repeating: "word and word. ", count: 20) + "End."
        let text = (0..<20).map { "\($0) " + paragraph }.joined(separator: "\n\n")
        let pieces = TextChunks(unitsMax: 500, keepsAngles: false).split(text)

        #expect(pieces.allSatisfy { $0.utf16.count <= 500 && !$0.isEmpty })
        let visible = { (text: String) in text.filter { !$0.isWhitespace } }
        #expect(visible(pieces.joined()) == visible(text))
        #expect(pieces.allSatisfy { $0.hasSuffix(".") })
    }

    @Test("code that is cut is closed and opened again")
    func code() {
        let text = "```\n" + (0..<100).map { "line \($0)" }.joined(separator: "\n") + "\n```\nafter"
        let pieces = TextChunks(unitsMax: 300, keepsAngles: false).split(text)
        #expect(pieces.count > 2)
        for piece in pieces {
            #expect(piece.utf16.count <= 300)
            #expect(piece.split(separator: "\n").filter { $0.hasPrefix("```") }.count.isMultiple(of: 2))
        }
    }

    @Test("links and escapes stay whole, characters too")
    func units() {
        let links = (0..<50).map { "<https://x.example/\($0)|label \($0)>" }.joined(separator: "")
        for piece in TextChunks(unitsMax: 100, keepsAngles: true).split(links) {
            #expect(piece.count { $0 == "<" } == piece.count { $0 == ">" })
        }
        let escapes = String(repeating: "&amp;", count: 100)
        #expect(TextChunks(unitsMax: 101, keepsAngles: true).split(escapes).allSatisfy { $0.hasSuffix(";") })
        let families = String(repeating: "👨‍👩‍👧‍👦", count: 60)
        let pieces = TextChunks(unitsMax: 100, keepsAngles: false).split(families)
        #expect(pieces.joined() == families)
        #expect(pieces.allSatisfy { $0.allSatisfy { $0 == "👨‍👩‍👧‍👦" } })
    }

    @Test("one character larger than a piece, or no text at all, is no reason to stop")
    func extremes() {
        let zalgo = "a" + String(repeating: "\u{301}", count: 5_000)
        #expect(
            TextChunks(unitsMax: 100, keepsAngles: true).split(zalgo).allSatisfy { $0.utf16.count <= 100 }
        )
        #expect(TextChunks(unitsMax: 100, keepsAngles: true).split("") == [""])
        let blanks = String(repeating: " ", count: 1_000)
        #expect(
            TextChunks(unitsMax: 100, keepsAngles: true).split(blanks).allSatisfy { $0.utf16.count <= 100 }
        )
        let angles = String(repeating: "<", count: 1_000)
        #expect(TextChunks(unitsMax: 100, keepsAngles: true).split(angles).joined() == angles)
    }
}
