import COpenSSL

/// HMAC (RFC 2104) by OpenSSL.
package enum HMAC {
    // Fetched once, immutable, never freed; see SHA256.algorithm.
    nonisolated(unsafe) private static let algorithm: OpaquePointer? = EVP_MAC_fetch(nil, "HMAC", nil)

    /// HMAC-SHA-256 of the parts, one after the other.
    package static func sha256(key: [UInt8], _ parts: [UInt8]...) -> [UInt8] {
        sha256(key: key, parts: parts)
    }

    package static func sha256(key: [UInt8], parts: [[UInt8]]) -> [UInt8] {
        let context = EVP_MAC_CTX_new(algorithm)
        defer { EVP_MAC_CTX_free(context) }
        var code = [UInt8](repeating: 0, count: SHA256.byteCount)
        var count = code.count
        var isDone = start(context, key)
        for part in parts where isDone == 1 { isDone = EVP_MAC_update(context, part, part.count) }
        if isDone == 1 { isDone = EVP_MAC_final(context, &code, &count, code.count) }
        precondition(isDone == 1 && count == SHA256.byteCount, "libcrypto has no HMAC-SHA-256")
        return code
    }

    private static func start(_ context: OpaquePointer?, _ key: [UInt8]) -> Int32 {
        // OpenSSL refuses a key of no bytes; HMAC pads keys with zeros, so a zero byte is the same key.
        let key = key.isEmpty ? [0] : key
        var value = Array("SHA256".utf8CString)
        // The parameters point to both strings, so these must live until OpenSSL has read them.
        return "digest".withCString { name in
            value.withUnsafeMutableBufferPointer { value in
                var parameters = [
                    OSSL_PARAM_construct_utf8_string(name, value.baseAddress, 0),
                    OSSL_PARAM_construct_end(),
                ]
                return EVP_MAC_init(context, key, key.count, &parameters)
            }
        }
    }
}

/// Whether both are the same, in a time that depends on their lengths only.
package func constantTimeEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
}

/// From the kernel's generator by way of OpenSSL's.
package func secureRandomBytes(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let isDone = RAND_bytes(&bytes, Int32(count))
    precondition(isDone == 1, "no random bytes to be had")
    return bytes
}
