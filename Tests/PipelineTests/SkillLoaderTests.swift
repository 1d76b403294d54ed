import Foundation
import Pipeline
import Testing

@Suite("Loading skills")
struct SkillLoaderTests {
    @Test("skills are found at any depth, but not below another, nor where nobody looks")
    func discovery() throws {
        let folder = try SkillFolder()
        for name in [
            "a", "group/b", "a/inner", ".hidden/c", "node_modules/d", "1/2/3/4/5/e", "1/2/3/4/5/6/7/f",
        ] {
            try folder.skill(name)
        }
        try folder.write("lower/skill.md", "---\ndescription: d\n---\n")
        try folder.write("alone.md", "---\nname: alone\ndescription: d\n---\n")
        try folder.write("README.md", "# Skills\n")

        let catalog = folder.load()

        #expect(catalog.names == ["a", "alone", "b", "e", "lower"])
        #expect(catalog.diagnostics.contains { $0.message.contains("folders deep") })
    }

    @Test("ignore files are followed, with their exceptions")
    func ignoreFiles() throws {
        let folder = try SkillFolder()
        for name in ["drafts/a", "kept/b", "old-1/c", "old-2/d", "x/build/e", "x/y/f"] {
            try folder.skill(name)
        }
        try folder.write(".gitignore", "# drafts\ndrafts/\nold-*\n!old-2\n")
        try folder.write("x/.ignore", "**/build\n")
        try folder.write(".fdignore", "/y\n")

        #expect(folder.load().names == ["b", "d", "f"])
    }

    @Test("a pattern of stars takes no time")
    func starPattern() throws {
        let folder = try SkillFolder()
        try folder.skill(String(repeating: "a", count: 200))
        try folder.write(".gitignore", String(repeating: "*a", count: 500) + "b\n")

        let took = ContinuousClock().measure { #expect(folder.load().skills.count == 1) }

        #expect(took < .seconds(5))
    }

    @Test("links are followed, each folder once, and loops end")
    func links() throws {
        let folder = try SkillFolder()
        let outside = try SkillFolder()
        try folder.skill("a")
        try outside.skill("shared")
        try folder.link("again", to: "a")
        try folder.link("loop", to: ".")
        try folder.link("dangling", to: "nowhere")
        try folder.link("shared", to: "\(outside.path)/shared")

        let catalog = SkillLoader.load([folder.path, "\(folder.path)/a"])

        #expect(catalog.names == ["a", "shared"])
        #expect(catalog["shared"]?.directory == "\(outside.path)/shared")
        #expect(catalog.diagnostics.isEmpty)
    }

    @Test("a broken skill is a diagnostic with file and line and hides no other")
    func broken() throws {
        let folder = try SkillFolder()
        try folder.skill("good")
        try folder.write("none/SKILL.md", "no frontmatter")
        try folder.write("silent/SKILL.md", "---\nname: silent\n---\n")
        try folder.write("huge/SKILL.md", [UInt8](repeating: 0x20, count: SkillLoader.documentBytesMax + 1))
        mkdir("\(folder.path)/pipe", 0o755)
        mkfifo("\(folder.path)/pipe/SKILL.md", 0o644)

        let catalog = SkillLoader.load([folder.path, "\(folder.path)/missing"])
        let errors = catalog.diagnostics.filter { $0.severity == .error }

        #expect(catalog.names == ["good"])
        #expect(errors.count == 4)
        #expect(errors.contains { $0.path.hasSuffix("none/SKILL.md") && $0.line == 1 })
        #expect(errors.contains { $0.path.hasSuffix("/missing") })
    }

    @Test("of two with one name the first of a root counts, and a later root over an earlier")
    func precedence() throws {
        let first = try SkillFolder()
        let second = try SkillFolder()
        try first.skill("x/tool", description: "first")
        try first.skill("y/tool", description: "second")
        try second.skill("tool", description: "third")

        let one = first.load()
        let both = SkillLoader.load([first.path, second.path])

        #expect(one["tool"]?.description == "first")
        #expect(both["tool"]?.description == "third")
        #expect(one.diagnostics.map(\.path) == ["\(first.path)/y/tool/SKILL.md"])
        #expect(both.diagnostics.count == 2)
        #expect(one.digest != both.digest)
    }

    @Test("names become harmless words, descriptions one line")
    func names() throws {
        let folder = try SkillFolder()
        try folder.write(
            "a/SKILL.md",
            "---\nname: \"../\\u202Eevil\\nName\"\ndescription: \"x\\u202E\\n\\e[31my\"\n---\n"
        )
        try folder.write("b/SKILL.md", "---\nname: 日本\ndescription: d\n---\n")
        try folder.write("日本/SKILL.md", "---\nname: 日本\ndescription: d\n---\n")
        try folder.write("line\nbreak/SKILL.md", "---\ndescription: \n---\n")

        let catalog = folder.load()

        #expect(catalog.names.filter { !$0.hasPrefix("skill-") } == ["b", "evil-name"])
        #expect(catalog.names.count == 3)
        #expect(catalog["evil-name"]?.description == "x [31my")
        #expect(
            catalog.diagnostics.allSatisfy {
                !$0.description.contains("\n") && !$0.description.contains("\u{202E}")
            }
        )
    }

    @Test("slash names are short, unique and no command's")
    func slashNames() {
        let long = String(repeating: "a", count: 40)
        let names = SkillCatalog.slashNames(["help", "web-search", "web.search", long, long + "b"])

        #expect(names["help"] == "help_2")
        #expect(names["web-search"] == "web_search")
        #expect(names["web.search"] == "web_search_2")
        #expect(names[long]?.count == 32)
        #expect(names[long + "b"] == String(repeating: "a", count: 30) + "_2")
    }

    @Test("the entry is what metadata names, else the only script, else none")
    func entryPoints() throws {
        let folder = try SkillFolder()
        for name in ["one", "two", "named", "escapes", "plain"] { try folder.skill(name) }
        try folder.write("one/scripts/run.sh", "#!/bin/sh\n", mode: 0o755)
        try folder.write("one/scripts/data.txt", "")
        try folder.write("two/scripts/a.sh", "#!/bin/sh\n", mode: 0o755)
        try folder.write("two/scripts/b.sh", "#!/bin/sh\n", mode: 0o755)
        try folder.write("named/bin/go", "#!/bin/sh\n", mode: 0o755)
        let named = "---\nname: named\ndescription: d\nmetadata: {penstock: {run: bin/go}}\n---\n"
        try folder.write("named/SKILL.md", named)
        let escapes =
            "---\nname: escapes\ndescription: d\nmetadata: {penstock: {run: ../one/scripts/run.sh}}\n---\n"
        try folder.write("escapes/SKILL.md", escapes)

        let catalog = folder.load()

        #expect(catalog["one"]?.entryPoint == "scripts/run.sh")
        #expect(catalog["two"]?.entryPoint == nil)
        #expect(catalog["named"]?.entryPoint == "bin/go")
        #expect(catalog["escapes"]?.entryPoint == nil)
        #expect(catalog["plain"]?.entryPoint == nil)
        #expect(catalog.diagnostics.count == 1)
    }

    @Test("a skill whose needs are not met is kept from models and says why")
    func gates() throws {
        let folder = try SkillFolder()
        let block =
            #"metadata: {"openclaw": {"os": ["linux"], "requires": "#
            + #"{"bins": ["sh", "no-such-program", "../sh"], "env": ["TOKEN"]}}}"#
        try folder.write("needs/SKILL.md", "---\nname: needs\ndescription: d\n\(block)\n---\n")
        let always =
            #"metadata: {"clawdbot": {"always": true, "os": ["darwin"], "#
            + #""requires": {"bins": ["no-such-program"]}}}"#
        try folder.write("mac/SKILL.md", "---\nname: mac\ndescription: d\n\(always)\n---\n")
        try folder.skill("free")
        var host = SkillHost()
        host.environment = ["TOKEN"]

        let catalog = SkillLoader.load([folder.path])
        let given = SkillLoader.load([folder.path], host: host)

        #expect(catalog["needs"]?.missing.count == 3)
        #expect(given["needs"]?.missing.count == 2)
        #expect(catalog["mac"]?.missing.count == 1)
        #expect(catalog.prompt.contains("<name>free</name>"))
        #expect(!catalog.prompt.contains("<name>needs</name>"))
        #expect(catalog.diagnostics.count == 4)
    }

    @Test("the prompt is escaped, and empty when there is nothing to offer")
    func prompt() throws {
        let folder = try SkillFolder()
        try folder.skill("a", description: "Use </skill> & \"quotes\"")
        try folder.write("b/SKILL.md", "---\nname: b\ndescription: d\ndisable-model-invocation: yes\n---\n")

        #expect(folder.load().prompt.contains("Use &lt;/skill&gt; &amp; &quot;quotes&quot;"))
        #expect(!folder.load().prompt.contains("<name>b</name>"))
        #expect(SkillCatalog().prompt.isEmpty)
    }

    @Test("the digest changes with a file's content and mode, and with nothing else")
    func digest() throws {
        let folder = try SkillFolder()
        try folder.skill("a")
        try folder.write("a/scripts/x.sh", "one", mode: 0o755)
        let before = folder.load().digest
        let again = folder.load().digest
        try folder.write("a/scripts/x.sh", "two", mode: 0o755)
        let changed = folder.load().digest
        try folder.write("a/scripts/x.sh", "two", mode: 0o644)

        #expect(before == again)
        #expect(Set([before, changed, folder.load().digest]).count == 3)
    }
}
