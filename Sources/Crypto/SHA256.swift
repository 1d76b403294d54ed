import COpenSSL

/// SHA-256 (FIPS 180-4) by OpenSSL.
package enum SHA256 {
    package static let byteCount = 32

    // Fetched once: looking the algorithm up costs several times what hashing a short message does.
    // The pointer is to an immutable, reference-counted description that is never freed.
    nonisolated(unsafe) static let algorithm: OpaquePointer? = EVP_MD_fetch(nil, "SHA256", nil)

    package static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: byteCount)
        let isDone = EVP_Digest(bytes, bytes.count, &digest, nil, algorithm, nil)
        precondition(isDone == 1, "libcrypto has no SHA-256")
        return digest
    }

    /// 64 lower-case hex digits.
    package static func hex(_ bytes: [UInt8]) -> String {
        Hex.encode(hash(bytes))
    }
}
