import Foundation
import Testing

@Suite("Tidy")
struct TidyTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private static func files(_ folders: [String], _ endings: [String]) -> [String] {
        folders.flatMap { folder in
            let walk = FileManager.default.enumerator(atPath: root.appending(path: folder).path)
            return (walk?.allObjects as? [String] ?? []).filter { name in
                endings.contains { name.hasSuffix($0) }
            }
            .map { "\(folder)/\($0)" }
        }.sorted()
    }

    private static func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: root.appending(path: path)), as: UTF8.self)
    }

    @Test("files, functions and lines stay within their limits")
    func limits() throws {
        let files = Self.files(["Sources", "Topics", "Tests"], [".swift", ".c", ".h"])
        let findings = try files.flatMap { TidyRules.check(try Self.text($0), path: $0) }

        #expect(files.count > 100)
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test("imports follow the arrows, and calls that have one home stay there")
    func sources() throws {
        let findings = try Self.files(["Sources", "Topics"], [".swift"]).flatMap { path in
            let parts = path.split(separator: "/")
            let target = parts[0] == "Topics" ? "Topics" : String(parts[1])
            return TidyRules.checkSource(try Self.text(path), path: path, target: target)
        }

        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test("a C library enters one Swift target")
    func libraries() {
        for library in ["CCurl", "COpenSSL", "CRDKafka", "CSandbox", "CSeccomp", "CSQLite", "CYAML"] {
            let users = TidyRules.imports.filter { $0.value.contains(library) }.keys

            #expect(users.count == 1, "\(library) is used by \(users)")
        }
    }

    @Test("between clone and exec only raw system calls are made")
    func child() throws {
        let files = ["child.c", "mounts.c", "identity.c", "limits.c", "filter.c"].map {
            "Sources/CSandbox/\($0)"
        }
        let findings = try files.flatMap { TidyRules.checkChild(try Self.text($0), path: $0, raw: "") }

        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test("every topic is in the catalogue")
    func catalogue() throws {
        let catalogue = try Self.text("Topics/Catalog.swift")
        for path in Self.files(["Topics"], [".swift"]) {
            let text = try Self.text(path)
            guard
                let name = text.split(separator: "\n").first(where: {
                    $0.hasPrefix("package enum ") && $0.contains("Topic {")
                })
            else { continue }
            let topic = name.split(separator: " ")[2]

            #expect(catalogue.contains("\(topic).topic"), "\(path): \(topic) is not in Catalog.swift")
        }
    }

    @Test("every decision record is linked from Architecture.md")
    func decisions() throws {
        let architecture = try Self.text("Sources/Pipeline/Pipeline.docc/Architecture.md")
        for path in Self.files(["Sources/Pipeline/Pipeline.docc/Decisions"], [".md"]) {
            let name = path.split(separator: "/").last.map(String.init) ?? path

            #expect(architecture.contains(name), "\(name) is not linked")
        }
    }

    @Test(
        "the rules see what they are for",
        arguments: [
            ("let now = Date()", "Date() belongs"),
            ("import CSQLite", "may not import"),
            ("try? work()", "needs a comment"),
            ("final class A: @unchecked Sendable {}", "needs a comment"),
            ("Task.detached { }", "belongs elsewhere"),
            ("print(\"x\")", "belongs elsewhere"),
            ("let x = try! work()", "belongs elsewhere"),
        ]
    )
    func planted(line: String, finding: String) {
        let findings = TidyRules.checkSource(
            "\n\n\n\n\n\(line)\n",
            path: "Sources/Pipeline/A.swift",
            target: "Pipeline"
        )

        #expect(findings.contains { $0.contains(finding) }, "\(findings)")
    }

    @Test("the limits see what they are for")
    func plantedLimits() {
        let long = "func f() {\n" + String(repeating: "    a()\n", count: 61) + "}\n"

        #expect(TidyRules.check(long, path: "A.swift").contains { $0.contains("a function of") })
        #expect(
            TidyRules.check(String(repeating: "a\n", count: 502), path: "A.swift").contains {
                $0.contains("lines")
            }
        )
        #expect(
            TidyRules.check(String(repeating: "a", count: 111), path: "A.swift").contains {
                $0.contains("characters")
            }
        )
        #expect(!TidyRules.checkChild("  malloc(5);", path: "child.c", raw: "").isEmpty)
    }
}
