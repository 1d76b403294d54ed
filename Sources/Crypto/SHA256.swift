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

    /// A hash under way, which any number of others go on from.
    // Safe: its context is only read once `init` has returned.
    package final class Prefix: @unchecked Sendable {
        private let context: OpaquePointer

        private init(copying other: OpaquePointer?) {
            guard let context = EVP_MD_CTX_new() else { preconditionFailure("libcrypto has no memory") }
            self.context = context
            let isDone =
                if let other { EVP_MD_CTX_copy_ex(context, other) } else {
                    EVP_DigestInit_ex2(context, algorithm, nil)
                }
            precondition(isDone == 1, "libcrypto has no SHA-256")
        }

        deinit { EVP_MD_CTX_free(context) }

        /// Of no bytes.
        package convenience init() { self.init(copying: nil) }

        package func adding(_ bytes: ArraySlice<UInt8>) -> Prefix {
            let longer = Prefix(copying: context)
            let isDone = bytes.withUnsafeBytes {
                EVP_DigestUpdate(longer.context, $0.baseAddress, $0.count)
            }
            precondition(isDone == 1, "libcrypto has no SHA-256")
            return longer
        }

        /// Of all bytes so far; 64 lower-case hex digits.
        package var hex: String {
            var digest = [UInt8](repeating: 0, count: byteCount)
            let end = Prefix(copying: context)
            let isDone = EVP_DigestFinal_ex(end.context, &digest, nil)
            precondition(isDone == 1, "libcrypto has no SHA-256")
            return Hex.encode(digest)
        }
    }

    /// 64 lower-case hex digits.
    package static func hex(_ bytes: [UInt8]) -> String {
        Hex.encode(hash(bytes))
    }
}
