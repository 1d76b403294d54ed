import Testing

@testable import Compression

@Suite("Zstandard")
struct ZstandardTests {
    private static let text = Array(String(repeating: "the quick brown fox; ", count: 300).utf8)

    @Test(
        "what is compressed expands to itself, and the same bytes give the same frame",
        arguments: [0, 1, 255, 6_300, 3_000_000]
    )
    func roundTrip(count: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7 &* 31) }

        let frame = Zstandard.compress(bytes)

        #expect(Zstandard.isFrame(frame))
        #expect(Zstandard.compress(bytes) == frame)
        #expect(try Zstandard.expand(frame, bytesMax: count) == bytes)
    }

    @Test("every changed byte and every cut is noticed")
    func damage() {
        let frame = Zstandard.compress(Self.text)
        for index in frame.indices {
            var broken = frame
            broken[index] ^= 0x10
            let expanded = try? Zstandard.expand(broken, bytesMax: 1 << 20)
            // A reserved bit of the frame's head may change without a change of what is in it.
            #expect(expanded == nil || expanded == Self.text, "byte \(index)")
            #expect(throws: ZstandardError.self) {
                try Zstandard.expand(Array(frame[..<index]), bytesMax: 1 << 20)
            }
        }
    }

    @Test("more than the limit is refused before it is expanded, and so is what is no frame")
    func limits() {
        let bomb = Zstandard.compress([UInt8](repeating: 0, count: 10_000_000))
        #expect(bomb.count < 2_000)
        #expect(throws: ZstandardError.self) { try Zstandard.expand(bomb, bytesMax: 9_999_999) }
        for bytes in [[], Array("{\"a\":1}".utf8), [0x28, 0xB5, 0x2F, 0xFD]] as [[UInt8]] {
            #expect(throws: ZstandardError.self) { try Zstandard.expand(bytes, bytesMax: 100) }
        }
    }

    @Test("many at once get their own bytes back")
    func concurrent() async {
        await withTaskGroup { group in
            for number in 0..<64 {
                group.addTask {
                    let bytes = Self.text + [UInt8(number)]
                    // Failing to expand is told from expanding to other bytes by neither.
                    return (try? Zstandard.expand(Zstandard.compress(bytes), bytesMax: 1 << 20)) == bytes
                }
            }
            for await isSame in group { #expect(isSame) }
        }
    }
}
