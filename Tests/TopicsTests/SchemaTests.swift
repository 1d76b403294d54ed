import Foundation
import JSON
import Testing
import Topics

@Suite("Schemas")
struct SchemaTests {
    private static let folder = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Topics/Schemas")

    @Test("the documents that are checked in are those of the message types")
    func current() throws {
        // REGENERATE=1 writes them instead: look at the difference before you commit it.
        if ProcessInfo.processInfo.environment["REGENERATE"] == "1" {
            for file in SchemaDocuments.all {
                try Data(file.bytes).write(to: Self.folder.appending(path: file.name))
            }
        }
        for file in SchemaDocuments.all {
            let path = Self.folder.appending(path: file.name)
            let stored = FileManager.default.contents(atPath: path.path).map { [UInt8]($0) } ?? []
            #expect(stored == file.bytes, "\(file.name) is out of date: run `ops/do schemas`")
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
        #expect(Set(names.filter { $0.hasSuffix(".json") }) == Set(SchemaDocuments.all.map(\.name)))
    }

    @Test("every topic has a name, a version, and a document of its own")
    func catalog() {
        var names: Set<String> = []
        for topic in Catalog.topics {
            names.insert(topic.message.schemaName)
            let parts = topic.message.schemaVersion.split(separator: ".")
            #expect(parts.count == 2, "\(topic.name)")
        }
        #expect(names.count == Catalog.topics.count)
        #expect(SchemaDocuments.all.count == names.count + 1)
    }

    @Test("the documents are JSON, and made twice they are the same bytes")
    func stable() throws {
        for (first, second) in zip(SchemaDocuments.all, SchemaDocuments.all) {
            #expect(first.bytes == second.bytes)
            #expect(try JSONValue(json: first.bytes).objectValue != nil)
        }
    }
}
