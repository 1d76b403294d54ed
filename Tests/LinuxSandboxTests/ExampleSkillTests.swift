import Foundation
import LinuxSandbox
import Pipeline
import Testing

@Suite("The example skills, in their sandbox")
struct ExampleSkillTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../ops/skills").standardizedFileURL.path
    private static let catalog = SkillLoader.load([folder])

    /// As a turn runs them: arguments split into words, the workspace kept from call to call.
    private func run(_ name: String, _ line: String, in workspace: String, by builder: Builder) async throws
        -> SandboxOutcome
    {
        let skill = try #require(Self.catalog[name])
        let entry = try #require(skill.entryPoint)
        let words = try #require(ShellWords.split(line))
        var run = SandboxRun(command: ["\(skill.insidePath)/\(entry)"] + words)
        run.mounts = [SandboxMount(host: skill.directory, inside: skill.insidePath)]
        run.workspace = workspace
        run.environment = ["PENSTOCK_ARGUMENTS": line]
        return try await builder.sandbox.run(run) { _, _ in }
    }

    @Test("they load without a remark, keep the format's strict rules, and can be called")
    func areSound() throws {
        #expect(Self.catalog.names == ["calculator", "text-stats", "todo"])
        #expect(Self.catalog.diagnostics.isEmpty, "\(Self.catalog.diagnostics)")
        for skill in Self.catalog.skills {
            let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: skill.document)))
            let document = try #require(SkillDocument.parse(bytes, path: skill.document).0)
            #expect(SkillRules.check(document, folder: skill.name).isEmpty)
            #expect(skill.entryPoint != nil)
            #expect(skill.missing.isEmpty)
        }
    }

    @Test(
        "the calculator is exact, converts, and refuses what is no sum",
        arguments: [
            ("0.1 + 0.2", "0.3"), ("'(3 + 4) * 2 ** 10'", "7168"), ("15% * 80", "12"),
            ("42.195 km to mi", "42.195 km = 26.2187574564543 mi"), ("98.6 F in C", "98.6 F = 37 C"),
            ("9**9**9**9", "The result has more than 4,000 digits."), ("1 / 0", "That divides by zero."),
            ("5 USD to EUR", "I can not turn USD into EUR; SKILL.md lists the units."),
        ]
    )
    func calculates(expression: String, answer: String) async throws {
        let folders = Folders(Builder.here[0])
        defer { folders.remove() }

        let outcome = try await run("calculator", expression, in: try folders.make(), by: Builder.here[0])

        #expect(outcome.text == answer + "\n")
    }

    @Test(
        "nothing of Python is evaluated",
        arguments: [
            "__import__(\"os\").system(\"id\")", "().__class__", "[1][0]", "lambda: 1", "\"a\" * 9",
            "open(1)",
        ]
    )
    func evaluatesNothing(expression: String) async throws {
        let folders = Folders(Builder.here[0])
        defer { folders.remove() }

        let outcome = try await run(
            "calculator",
            "'\(expression)'",
            in: try folders.make(),
            by: Builder.here[0]
        )

        #expect(outcome.ending == .exited(1))
        #expect(outcome.text.hasPrefix("I only know") || outcome.text.hasPrefix("I do not understand"))
    }

    @Test("text statistics count a text, and a file of the workspace")
    func counts() async throws {
        let folders = Folders(Builder.here[0])
        defer { folders.remove() }
        let workspace = try folders.make()
        try "One two two.\nTwo!\n".write(toFile: workspace + "/a.txt", atomically: false, encoding: .utf8)

        let text = try await run("text-stats", "'The fox. The dog?' ran", in: workspace, by: Builder.here[0])
        let file = try await run("text-stats", "--top 1 --file a.txt", in: workspace, by: Builder.here[0])
        let missing = try await run("text-stats", "--file b.txt", in: workspace, by: Builder.here[0])

        #expect(text.text.contains("Words: 5\n") && text.text.contains("Sentences: 2\n"), "\(text.text)")
        #expect(file.text.hasSuffix("Most frequent words:\n  two: 3\n"), "\(file.text)")
        #expect(missing.ending == .exited(1))
    }

    @Test("the to-do list is kept from turn to turn", arguments: Builder.here)
    func remembers(builder: Builder) async throws {
        let folders = Folders(builder)
        defer { folders.remove() }
        let workspace = try folders.make()
        for line in ["add Buy 'oat  milk' & $(id)", "add Second", "done 1"] {
            let outcome = try await run("todo", line, in: workspace, by: builder)
            #expect(outcome.succeeded, "\(outcome.text)")
        }

        let list = try await run("todo", "list", in: workspace, by: builder)
        let wrong = try await run("todo", "done 3", in: workspace, by: builder)
        let cleared = try await run("todo", "clear", in: workspace, by: builder)

        #expect(list.text == "1. [x] Buy oat  milk & $(id)\n2. [ ] Second\n")
        #expect(wrong.text == "There is no task 3.\n")
        #expect(cleared.text == "1. [ ] Second\n")
    }
}
