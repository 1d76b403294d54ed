import JSON
import Testing

@Suite("JSON")
struct JSONReaderTests {
    @Test(
        "a value survives reading and comes back in canonical form",
        arguments: [
            (#" {"b":1, "a":[true,false,null] } "#, #"{"a":[true,false,null],"b":1}"#),
            (#""\u00e9\ud83d\ude00\n""#, "\"é😀\\n\""),
            ("1E30", "1e+30"), ("4.50", "4.5"), ("2e-3", "0.002"), ("0.000000000000000000000000001", "1e-27"),
            ("-0", "0"), ("9223372036854775807", "9223372036854775807"), ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("0.000001", "0.000001"), ("1e-7", "1e-7"), ("333333333.33333329", "333333333.3333333"),
        ]
    )
    func canonical(input: String, expected: String) throws {
        let value = try JSONValue(json: Array(input.utf8))

        #expect(String(decoding: value.json, as: UTF8.self) == expected)
    }

    @Test("members are sorted by their names' UTF-16")
    func order() {
        let rising = ["", "\r", "1", "a", "ab", "\u{80}", "ö", "€", "\u{D7FF}", "😀", "😀a", "😁", "\u{FB33}"]

        for (left, first) in rising.enumerated() {
            for (right, second) in rising.enumerated() {
                #expect(first.canonicallyPrecedes(second) == (left < right), "\(first) \(second)")
            }
        }
    }

    @Test(
        "what is not JSON is refused",
        arguments: [
            "", "{", "[1,]", "{\"a\":1,}", "01", "1.", ".5", "+1", "nul", "\"\\x\"", "\"\u{1}\"", "[1 2]",
            "{\"a\" 1}",
            "\"\\ud800\"", "\"\\udc00\"", "1 2", "{\"a\":1,\"a\":2}", "1e999", "'a'", "\"abc", "[",
            "{\"a\":}", "-",
        ]
    )
    func refused(input: String) {
        #expect(throws: JSONError.self) { try JSONValue(json: Array(input.utf8)) }
    }

    @Test("bytes that are not UTF-8 are refused, also in what is passed over")
    func invalidUTF8() {
        for bytes: [UInt8] in [
            [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF], [0xE2, 0x82],
        ] {
            #expect(throws: JSONError.self) { try String(json: [0x22] + bytes + [0x22]) }
            let object = Array(#"{"id":"x","unknown":""#.utf8) + bytes + Array(#""}"#.utf8)
            #expect(throws: JSONError.self) { try Sample(json: object) }
        }
    }

    @Test("nesting beyond the limit is refused, not a crash")
    func depth() {
        let deep = [UInt8](repeating: 0x5B, count: 100_000)
        #expect(throws: JSONError.self) { try JSONValue(json: deep) }
    }

    struct Sample: JSONObjectCoded, Hashable {
        var id = ""
        var note: String?
        var count = 7

        init() {}

        static let fields = JSONFields<Sample>(
            title: "Sample",
            doc: "A sample.",
            [
                .required("id", \.id, "Its id."),
                .optional("note", \.note, "A note."),
                .defaulted("count", \.count, "How many."),
            ]
        )
    }

    @Test("an object takes its members in any order, with unknown ones, and writes them sorted")
    func object() throws {
        let sample = try Sample(json: Array(#"{"x":{"y":[1,{"z":null}]},"note":"n","id":"a"}"#.utf8))

        #expect(sample.note == "n" && sample.id == "a" && sample.count == 7)
        #expect(String(decoding: sample.json, as: UTF8.self) == #"{"count":7,"id":"a","note":"n"}"#)
    }

    /// Small members beside large ones, one of them computed.
    struct Mixed: JSONObjectCoded, Hashable {
        var flag = false
        var tail: [Sample] = []
        var number = 0.5
        var word: String?
        private var hidden = 1
        var shown: Int {
            get { hidden * 2 }
            set { hidden = newValue / 2 }
        }

        static let fields = JSONFields<Mixed>(
            title: "Mixed",
            doc: "Members of many sizes.",
            [
                .required("flag", \.flag, "A bit."),
                .required("tail", \.tail, "Objects."),
                .defaulted("number", \.number, "A number."),
                .optional("word", \.word, "A word."),
                .required("shown", \.shown, "Not stored as it is."),
            ]
        )
    }

    @Test("members are read and written where they lie, computed ones by their path")
    func places() throws {
        let tail = #"[{"count":1,"id":"a"},{"count":2,"id":"b","note":"n"}]"#
        let text = #"{"flag":true,"number":1.5,"shown":8,"tail":\#(tail)}"#

        var mixed = try Mixed(json: Array(text.utf8))

        #expect(mixed.flag && mixed.number == 1.5 && mixed.shown == 8 && mixed.word == nil)
        #expect(mixed.tail.map(\.id) == ["a", "b"] && mixed.tail.map(\.note) == [nil, "n"])
        #expect(String(decoding: mixed.json, as: UTF8.self) == text)
        mixed.word = "w"
        #expect(try Mixed(json: mixed.json) == mixed)
        var kept = JSONKept(mixed)
        #expect(kept.keepJSON() == mixed.json && kept.json == mixed.json)
        #expect(kept == JSONKept(mixed) && kept != JSONKept(Mixed()))
    }

    @Test("an error names the member")
    func path() throws {
        let missing = #expect(throws: JSONError.self) { try Sample(json: Array("{}".utf8)) }
        let nested = #expect(throws: JSONError.self) {
            try [String: [Sample]](json: Array(#"{"a":[{"id":"x"},{"id":5}]}"#.utf8))
        }

        #expect(missing?.path == "id")
        #expect(nested?.path == "a.1.id")
    }

    @Test("every byte that needs it is escaped, wherever it stands in a long text")
    func escapes() throws {
        for unit in (UInt8(0)..<0x80) {
            for place in 0..<40 {
                var bytes = [UInt8](repeating: 0x7A, count: 40)
                bytes[place] = unit
                // Another one after it, which a mark that was borrowed would hide.
                bytes[39 - place] = 0x5C
                let text = String(decoding: bytes, as: UTF8.self)
                let json = text.json
                #expect(try String(json: json) == text)
                let inside = json.dropFirst().dropLast()
                #expect(inside.allSatisfy { $0 >= 0x20 })
            }
        }
    }
}
