import Foundation
import JSON
import PipelineTesting
import Testing

@Suite("Beside Python's JSON", .timeLimit(.minutes(5)))
struct JSONInteropTests {
    private static let samples = [
        #"{"specversion":"1.0","id":"a","hop":2,"data":{"text":"Gr\u00fc\u00dfe \ud83d\ude00","n":[1,-2.5e-3,null]}}"#,
        #" [ true , false , null , 0 , -0 , 1E400 , 9223372036854775807 , 18446744073709551615 ] "#,
        "{\"€\":1,\"😀\":2,\"ﬀ\":3,\"a\":{\"b\":[[],{},\"\\u0000\\t\\\"\\\\\\/\"]}}",
        #"[0.1,1e21,123456789012345680000,1e-7,5e-324,1.7976931348623157e308,4.35,333333333.33333329]"#,
        #""plain""#, "-12", #"{"a":1,"a":2}"#,
    ]
    /// What turns a text into another that may still be JSON.
    private static let pieces: [[UInt8]] =
        [
            "\"", "\\", ",", ":", "[", "]", "{", "}", "e", "E", ".", "-", "+", "0", "9", " ", "\u{9}", "\\u",
            "\\ud83d", "\\udc00",
            "null", "\u{7f}", "\u{a0}", "\u{feff}",
        ].map { Array($0.utf8) } + [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0x00], [0x1F]]

    @Test("what Python reads we read, to the same canonical bytes; what it refuses we refuse")
    func differential() async throws {
        let seed = Seed.value
        print("JSON beside Python: SEED=\(seed)")
        var chance = SplitMix(seed: seed)
        let texts = Self.samples.map { Array($0.utf8) } + (0..<6_000).map { _ in Self.mutant(&chance) }
        let input = texts.map { Base64.encode($0) + "\n" }.joined()
        let script = PythonEnvironment.scripts.appending(path: "json_oracle.py").path

        let outcome = try await PythonEnvironment.run(
            URL(filePath: "/usr/bin/env"),
            ["python3", script],
            input: input
        )

        #expect(outcome.status == 0)
        let verdicts = outcome.output.split(separator: "\n").map(String.init)
        try #require(verdicts.count == texts.count)
        var read = 0
        for (text, verdict) in zip(texts, verdicts) {
            let ours = (try? JSONValue(json: text)).map { Base64.encode($0.json) } ?? "refused"
            if ours != "refused" { read += 1 }
            #expect(
                ours == verdict,
                "\(String(decoding: text, as: UTF8.self).debugDescription): Python's is \(Self.shown(verdict)), ours \(Self.shown(ours))"
            )
        }
        #expect(read > 300 && read < texts.count - 300, "\(read) of \(texts.count) were read")
    }

    private static func shown(_ verdict: String) -> String {
        Base64.decode(verdict).map { String(decoding: $0, as: UTF8.self) } ?? verdict
    }

    private static func mutant(_ chance: inout SplitMix) -> [UInt8] {
        var bytes = Array(samples[chance.next(below: samples.count)].utf8)
        for _ in 0...chance.next(below: 3) where !bytes.isEmpty {
            let index = chance.next(below: bytes.count)
            switch chance.next(below: 4) {
            case 0: bytes.remove(at: index)
            case 1: bytes[index] = UInt8(chance.next(below: 256))
            case 2: bytes.insert(contentsOf: pieces[chance.next(below: pieces.count)], at: index)
            default:
                let end = index + chance.next(below: min(12, bytes.count - index) + 1)
                bytes.insert(contentsOf: bytes[index..<end], at: chance.next(below: bytes.count))
            }
        }
        return bytes
    }
}

/// Printed before it is used; `SEED=` repeats it.
enum Seed {
    static var value: UInt64 {
        ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init)
            ?? UInt64.random(in: 0...UInt64(Int64.max))
    }
}

extension SplitMix {
    fileprivate mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
