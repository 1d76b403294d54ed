import Crypto
import Testing

@Suite("Hashes, hex, comparisons")
struct SHA256Tests {
    /// FIPS 180-4's examples.
    @Test(
        "hashes are those of the standard",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                String(repeating: "a", count: 1_000_000),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
            ),
        ]
    )
    func vectors(text: String, expected: String) {
        #expect(SHA256.hex(Array(text.utf8)) == expected)
        #expect(Hex.decode(expected) == SHA256.hash(Array(text.utf8)))
    }

    @Test("hashes that go on from the same beginning do not disturb each other")
    func prefixes() {
        let start = SHA256.Prefix().adding(Array("ab".utf8)[...])
        let (first, second) = (start.adding(Array("c".utf8)[...]), start.adding(Array("d".utf8)[...]))

        #expect(first.hex == SHA256.hex(Array("abc".utf8)) && first.hex == first.hex)
        #expect(second.hex == SHA256.hex(Array("abd".utf8)))
        #expect(start.hex == SHA256.hex(Array("ab".utf8)))
    }

    @Test("hex is read in either case, and nothing else is", arguments: ["0", "0g", " 00", "0x00", "é"])
    func hex(wrong: String) {
        #expect(Hex.decode("00fFAb") == [0x00, 0xFF, 0xAB] && Hex.encode([0x00, 0xFF, 0xAB]) == "00ffab")
        #expect(Hex.decode(wrong) == nil)
    }

    @Test("equal is equal, and a byte or a length more is not")
    func comparison() {
        #expect(constantTimeEqual([], []) && constantTimeEqual([1, 2], [1, 2]))
        #expect(!constantTimeEqual([1, 2], [1, 3]) && !constantTimeEqual([1, 2], [1, 2, 3]))
    }

    @Test("random bytes do not repeat")
    func random() {
        #expect(Set((0..<1_000).map { _ in secureRandomBytes(16) }).count == 1_000)
    }
}
