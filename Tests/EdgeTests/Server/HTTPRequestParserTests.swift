import Edge
import Pipeline
import PipelineTesting
import Testing

@Suite("HTTP request parser")
struct HTTPRequestParserTests {
    private static let limits = HTTPRequestParser.Limits(
        headBytesMax: 1_024,
        bodyBytesMax: 4_096,
        fieldsMax: 20
    )

    private enum Outcome: Hashable, CustomStringConvertible {
        case request(HTTPRequest, keepsAlive: Bool)
        case failure(Int)
        case incomplete

        var description: String {
            switch self {
            case .request(let request, let keepsAlive):
                "\(request.method) \(request.target) \(request.body.count) \(keepsAlive)"
            case .failure(let status): "\(status)"
            case .incomplete: "incomplete"
            }
        }
    }

    /// What the parser makes of pieces, up to the first failure.
    private static func parse(_ pieces: [[UInt8]]) -> [Outcome] {
        var parser = HTTPRequestParser(limits: limits)
        var outcomes: [Outcome] = []
        for piece in pieces {
            parser.feed(piece)
            do throws(HTTPRequestParser.Failure) {
                while let parsed = try parser.next() {
                    outcomes.append(.request(parsed.request, keepsAlive: parsed.keepsAlive))
                }
            } catch {
                return outcomes + [.failure(error.status)]
            }
        }
        if parser.progress != .idle { outcomes.append(.incomplete) }
        return outcomes
    }

    private static func parse(_ text: String) -> [Outcome] { parse([Array(text.utf8)]) }

    @Test("requests in a row come out in order, with their bodies")
    func pipelined() throws {
        let outcomes = Self.parse(
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
                + "POST /b HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
                + "GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )

        let bodies = outcomes.map {
            if case .request(let request, _) = $0 {
                String(decoding: request.body, as: UTF8.self)
            } else {
                "?"
            }
        }
        #expect(bodies == ["hello", "abcde", ""])
        guard case .request(_, keepsAlive: false) = outcomes.last else {
            Issue.record("Connection: close was not heard: \(outcomes)")
            return
        }
    }

    @Test(
        "what could hide a second request is refused",
        arguments: [
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                400
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                400
            ),
            ("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
                400
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5 5\r\nhello\r\n0\r\n\r\n",
                400
            ),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a\u{0}b\r\nhello\r\n0\r\n\r\n",
                400
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\nHost: x\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: \u{1}\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
            ("GET /\tx HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
            ("G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nExpect: something\r\n\r\n", 417),
            ("GET / HTTP/1.1\r\nHost: x\r\n" + String(repeating: "A: b\r\n", count: 21) + "\r\n", 431),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: " + String(repeating: "b", count: 1_100), 431),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4097\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1001\r\n", 413),
        ]
    )
    func refused(text: String, status: Int) {
        #expect(Self.parse(text) == [.failure(status)])
        #expect(Self.parse(text.utf8.map { [$0] }).last == .failure(status))
    }

    @Test("every split of every input gives the same requests, also of inputs gone wrong")
    func splits() {
        let samples = [
            "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\nPOST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\nGET / HTTP/1.1\r\nHost: y\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ]
        let seed = ProcessSeedForEdge.value
        var random = SplitMix(seed: seed)
        for round in 0..<6_000 {
            var bytes = Array(samples[round % samples.count].utf8)
            for _ in 0..<(round % 4) {
                let index = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: index)
                default: bytes.insert([0x0D, 0x0A, 0x20, 0x3A, 0x30][Int(random.next() % 5)], at: index)
                }
            }
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = min(rest.count, 1 + Int(random.next() % 9))
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }

            let whole = Self.parse([bytes])
            #expect(
                Self.parse(pieces) == whole,
                "seed \(seed), round \(round): \(String(decoding: bytes, as: UTF8.self).debugDescription)"
            )
            #expect(Self.parse(bytes.map { [$0] }) == whole, "seed \(seed), round \(round), by the byte")
        }
    }
}

/// Printed with a failure; `SEED=` repeats it.
enum ProcessSeedForEdge {
    static let value: UInt64 = {
        if let text = ProcessEnvironment.value("SEED"), let seed = UInt64(text) { return seed }
        return UInt64.random(in: 0 ... .max)
    }()
}
