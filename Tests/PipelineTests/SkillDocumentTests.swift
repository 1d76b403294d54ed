import JSON
import Pipeline
import Testing

@Suite("SKILL.md")
struct SkillDocumentTests {
    private func parse(_ text: String) -> (SkillDocument?, [SkillDiagnostic]) {
        SkillDocument.parse(Array(text.utf8), path: "SKILL.md")
    }

    @Test("a document by the book gives every field and no remark")
    func whole() throws {
        let (parsed, diagnostics) = parse(
            """
            ---
            name: pdf
            description: >
              Reads and writes
              PDF files.
            license: MIT
            compatibility: Needs python3
            allowed-tools: Bash(git add:*) Read
            metadata:
              author: me
              version: "1.0"
            ---

            # How
            ---
            more

            """
        )
        let document = try #require(parsed)

        #expect(diagnostics.isEmpty)
        #expect(document.name == "pdf")
        #expect(document.description == "Reads and writes PDF files.")
        #expect(document.license == "MIT")
        #expect(document.allowedTools == ["Bash(git add:*)", "Read"])
        #expect(document.metadata == .object(["author": "me", "version": "1.0"]))
        #expect(document.body == "# How\n---\nmore")
        #expect(SkillRules.check(document, folder: "pdf").isEmpty)
    }

    @Test(
        "line ends and a byte order mark do not matter",
        arguments: ["\r\n", "\r", "\n"],
        ["", "\u{FEFF}"]
    )
    func lineEnds(end: String, mark: String) throws {
        let lines = ["---", "name: a", "description: |", "  one", "  two", "---", "body", "more"]
        let (parsed, diagnostics) = parse(mark + lines.joined(separator: end))
        let document = try #require(parsed)

        #expect(diagnostics.isEmpty)
        #expect(document.description == "one\ntwo")
        #expect(document.body == "body\nmore")
    }

    @Test(
        "YAML that is none is mended, and what gates the skill is still read",
        arguments: [
            "Use when: the user asks", "Ends with a colon:", "\"Quoted\" and more: text",
            "[Beta] Does things: many", "@mention first", "`code` first", "100%: sure", "*bold* start",
            "{braces} first: no",
        ]
    )
    func mends(description: String) throws {
        let (parsed, diagnostics) = parse(
            """
            ---
            name: a
            description: \(description)
            metadata: {"clawdbot": {"requires": {"bins": ["git"]}, "os": "linux, darwin"}}
            ---
            """
        )
        let document = try #require(parsed)

        #expect(document.description == description)
        #expect(document.requirements.programs == ["git"])
        #expect(document.requirements.systems == ["linux", "darwin"])
        #expect(document.isMended == !diagnostics.isEmpty)
    }

    @Test("an error names the line of the file")
    func line() {
        let (_, diagnostics) = parse("---\nname: a\ndescription: one: two\n---\n")

        #expect(diagnostics.map(\.line) == [3])
        #expect(diagnostics.first?.severity == .warning)
    }

    @Test("what even mending does not save is read line by line")
    func lineByLine() throws {
        let (parsed, diagnostics) = parse(
            """
            ---
            name: 'a'
            description: text
            	tab: [
            homepage: https://example.org
            metadata:
              openclaw:
                requires: { env: [TOKEN] }
            ---
            """
        )
        let document = try #require(parsed)

        #expect(document.name == "a")
        #expect(document.description == "text")
        #expect(document.requirements.environment == ["TOKEN"])
        #expect(diagnostics.count == 1)
    }

    @Test("a list or a mapping in place of the description is taken as it is written")
    func rawDescription() throws {
        let (parsed, _) = parse("---\nname: a\ndescription: [one, two]\n---\n")

        #expect(try #require(parsed).description == "[one, two]")
    }

    @Test(
        "the block is found under each of its names",
        arguments: ["openclaw", "clawdbot", "moltbot", "clawdis"]
    )
    func namespaces(name: String) throws {
        let block =
            #"{"\#(name)":{"always":"yes","os":["linux"],"requires":{"bins":["a","b"],"#
            + #""anyBins":["c"],"env":["D"],"config":["e"]}}}"#
        for written in [
            block, "'\(block)'",
            "\n  \(name):\n    always: on\n    os: linux\n    requires:\n      bins: a,b\n"
                + "      anyBins: [c]\n      env: [D]\n      config: e",
        ] {
            let (parsed, _) = parse("---\nname: a\ndescription: b\nmetadata: \(written)\n---\n")
            let requirements = try #require(parsed).requirements

            #expect(requirements.isAlways)
            #expect(requirements.systems == ["linux"])
            #expect(requirements.programs == ["a", "b"])
            #expect(requirements.anyPrograms == ["c"])
            #expect(requirements.environment == ["D"])
            #expect(requirements.settings == ["e"])
        }
    }

    @Test(
        "no frontmatter is an error at the first line",
        arguments: ["", "# Title\n", "\n---\nname: a\n---\n", "---\nname: a\n", "--", "\u{0}"]
    )
    func missing(text: String) {
        let (parsed, diagnostics) = parse(text)

        #expect(parsed == nil)
        #expect(diagnostics.map(\.severity) == [.error])
        #expect(diagnostics.map(\.line) == [1])
    }

    @Test("bombs and bytes of every kind end, with a document or a reason")
    func hostile() {
        let aliases =
            "---\na: &a [x,x,x,x,x,x,x,x,x]\n"
            + (1...9).map { number in
                let name = "*a\(number == 1 ? "" : "\(number - 1)")"
                return
                    "a\(number): &a\(number) [\(Array(repeating: name, count: 9).joined(separator: ","))]\n"
            }.joined() + "description: still here\n---\n"
        let deep = "---\ndescription: fine\nmetadata: " + String(repeating: "[", count: 30_000) + "\n---\n"
        let large = "---\ndescription: " + String(repeating: "x", count: 70_000) + "\n---\n"

        #expect(parse(aliases).0?.description == "still here")
        #expect(parse(deep).0?.description == "fine")
        #expect(parse(large).0 == nil)
    }

    @Test("bytes that are not UTF-8 are replaced and remarked on")
    func notUTF8() throws {
        let bytes = Array("---\nname: a\ndescription: caf".utf8) + [0xE9] + Array("\n---\n".utf8)
        let (parsed, diagnostics) = SkillDocument.parse(bytes, path: "SKILL.md")

        #expect(try #require(parsed).description == "caf\u{FFFD}")
        #expect(diagnostics.count == 1)
    }

    @Test("mutated documents never crash")
    func fuzz() {
        let sample = Array(
            "---\r\nname: a\ndescription: 'b': c\nmetadata: {\"openclaw\": {os: [x]}}\ntools: [a]\n---\nBody\n"
                .utf8
        )
        let seed = ProcessSeed.value
        var random = ProcessSeed.generator(seed)
        for _ in 0..<5_000 {
            var bytes = sample
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                    in: 0...255,
                    using: &random
                )
            }
            let (document, diagnostics) = SkillDocument.parse(bytes, path: "SKILL.md")
            #expect(document != nil || !diagnostics.isEmpty, "SEED=\(seed)")
        }
    }

    @Test(
        "the strict rules refuse what the format forbids",
        arguments: [
            ("name: Upper", "name"), ("name: -a", "name"), ("name: a--b", "name"), ("name: other", "folder"),
            ("extra: 1", "no field"), ("metadata: {a: [1]}", "metadata.a"),
            ("compatibility: \(String(repeating: "x", count: 501))", "501"),
        ]
    )
    func strict(line: String, word: String) throws {
        let name = line.hasPrefix("name") ? "" : "name: a\n"
        let (parsed, _) = parse("---\n\(name)\(line)\ndescription: d\n---\n")
        let problems = SkillRules.check(try #require(parsed), folder: "a")

        #expect(problems.count == 1)
        #expect(problems.first?.contains(word) == true, "\(problems)")
    }
}
