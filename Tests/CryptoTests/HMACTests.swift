import Crypto
import Testing

@Suite("HMAC")
struct HMACTests {
    /// RFC 4231, test cases 1, 2 and 6; the last is of Python's hmac with an empty key.
    @Test(
        "codes are those of RFC 4231, and an empty key is a key",
        arguments: [
            (
                [UInt8](repeating: 0x0B, count: 20), "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                Array("Jefe".utf8), "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                [UInt8](repeating: 0xAA, count: 131),
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
            ([], "message", "eb08c1f56d5ddee07f7bdf80468083da06b64cf4fac64fe3a90883df5feacae4"),
        ]
    )
    func vectors(key: [UInt8], message: String, expected: String) {
        #expect(Hex.encode(HMAC.sha256(key: key, Array(message.utf8))) == expected)
        let halves = [Array(message.utf8.prefix(5)), Array(message.utf8.dropFirst(5))]
        #expect(Hex.encode(HMAC.sha256(key: key, parts: halves)) == expected)
    }

    @Test("many codes at once are all right")
    func concurrency() async {
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    (0..<2_000).allSatisfy { _ in
                        Hex.encode(
                            HMAC.sha256(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
                        )
                            == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
                    }
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }
}
