import Foundation
import Testing
import YAML

@Suite("YAML")
struct YAMLTests {
    private func parse(_ text: String, _ mode: YAML.Mode = .strict) throws -> YAMLNode? {
        try YAML.parse(Array(text.utf8), mode)
    }

    @Test("values keep their place and their type")
    func values() throws {
        let node = try parse("a: 1\nb:\n  - 'true'\n  - true\n  - NO\nc: ~\n")

        #expect(node?["a"]?.integer == 1)
        #expect(node?["a"]?.line == 1 && node?["a"]?.column == 4)
        #expect(node?["b"]?.elements?.map(\.bool) == [nil, true, nil])
        #expect(node?["b"]?.elements?[2].text == "NO")
        #expect(node?["c"]?.isNull == true)
    }

    @Test(
        "settings refuse what hides or repeats",
        arguments: [
            "a: 1\na: 2", "a: &x 1", "a: *x", "<<: {a: 1}", "a: !!str 1", "a: 1\n---\nb: 2", "a:\n\t- 1",
            "{a: [}",
        ]
    )
    func strict(text: String) {
        #expect(throws: YAMLError.self) { try parse(text) }
    }

    @Test("an error says where")
    func place() {
        let error = #expect(throws: YAMLError.self) { try parse("ok: 1\ntwice: 1\ntwice: 2\n") }
        let bytes = #expect(throws: YAMLError.self) {
            try YAML.parse(Array("a: 1\nb: ".utf8) + [0xFF], .strict)
        }

        #expect(error?.line == 3)
        #expect(bytes?.line == 2)
    }

    @Test("bombs are refused, not suffered")
    func bombs() {
        let aliases =
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + (1...9).map {
                "a\($0): &a\($0) ["
                    + Array(repeating: "*a\($0 == 1 ? "" : "\($0 - 1)")", count: 9).joined(separator: ",")
                    + "]\n"
            }.joined()
        let deep = String(repeating: "[", count: 10_000)

        #expect(throws: YAMLError.self) { try parse(aliases, .lenient) }
        #expect(throws: YAMLError.self) { try parse(deep, .lenient) }
    }

    @Test("whatever the bytes, there is a value or an error")
    func fuzz() {
        let sample = Array("a: &x [1, 'two', \"three\\n\"]\nb: {c: *x, d: |\n  text\n}\n# end\n".utf8)
        let seed =
            ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init)
            ?? UInt64.random(in: 0...UInt64(UInt32.max))
        // Before, because what this looks for is a crash.
        print("YAML mutants: SEED=\(seed)")
        var state = seed
        func next(below bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<2_000 {
            var bytes = sample
            for _ in 0..<3 { bytes[next(below: bytes.count)] = UInt8(next(below: 256)) }
            _ = try? YAML.parse(bytes, .lenient)
            _ = try? YAML.parse(bytes, .strict)
        }
    }
}
