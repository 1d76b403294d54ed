import Testing

@testable import Adapters

@Suite("Server-sent events")
struct ServerSentEventsTests {
    static func read(_ pieces: [[UInt8]]) throws -> [String] {
        var parser = ServerSentEvents(eventBytesMax: 1_000)
        var events: [ServerSentEvents.Event] = []
        for piece in pieces { events += try parser.take(piece) }
        if let last = parser.finish() { events.append(last) }
        return events.map { "\($0.name)|\(String(decoding: $0.data, as: UTF8.self))" }
    }

    @Test(
        "events are read as the standard says",
        arguments: [
            ("data: a\n\n", ["message|a"]),
            ("data:a\r\n\r\ndata:  b\r\r", ["message|a", "message| b"]),
            ("data: a\ndata\ndata: b\n\n", ["message|a\n\nb"]),
            (": comment\nid: 1\nretry: 5\nunknown: x\n\ndata: a\n\n", ["message|a"]),
            ("event: ping\ndata: {}\n\nevent: x\n\ndata: a\n\n", ["ping|{}", "message|a"]),
            ("\u{FEFF}data: a\n\n", ["message|a"]),
            ("data: no end", ["message|no end"]),
            ("data: é\n\n", ["message|é"]),
            ("", []), ("\n\n\r\n", []), ("data\n\n", ["message|"]),
        ]
    )
    func standard(text: String, events: [String]) throws {
        #expect(try Self.read([Array(text.utf8)]) == events)
        #expect(try Self.read(text.utf8.map { [$0] }) == events)
    }

    @Test("any split of any bytes gives the same events")
    func splits() throws {
        var random = SeededRandom.fromEnvironment()
        let words = [
            "data: ", "data:x", "event: e", "\n", "\r", "\r\n", "\n\n", ":", " ", "é", "\u{FEFF}", "\0",
        ]
        for _ in 0..<2_000 {
            let text = (0..<Int.random(in: 0...30, using: &random)).map { _ in
                words[Int.random(in: 0..<words.count, using: &random)]
            }.joined()
            let whole = try Self.read([Array(text.utf8)])
            let split = try Self.read(ModelSupport.split(Array(text.utf8), &random))
            let single = try Self.read(text.utf8.map { [$0] })
            #expect(split == whole && single == whole, "SEED=\(random.seed) \(text.debugDescription)")
        }
    }

    @Test("an event without end is given up at its limit, in one line or in many")
    func endless() {
        #expect(throws: ServerSentEvents.TooLong.self) {
            try Self.read([Array("data: ".utf8), [UInt8](repeating: 0x61, count: 2_000)])
        }
        #expect(throws: ServerSentEvents.TooLong.self) {
            try Self.read(Array(repeating: Array("data: 123456789\n".utf8), count: 200))
        }
    }
}
