import COpenSSL

/// An authority that certifies names for a short time; its key is in this process's memory and nowhere else.
///
/// It says itself what it may certify (critical name constraints), so that whoever trusts it trusts it for
/// these names only.
package final class CertificateAuthority: @unchecked Sendable {
    // Safe to share: both are OpenSSL's, counted by reference, and never changed after `init`.
    private let key: OpaquePointer
    private let certificate: OpaquePointer
    private let seconds: Int

    /// For these names and all below them, at least one; valid from an hour ago, for clocks that differ,
    /// until `seconds` from now.
    package init(names: [String], seconds: Int) throws(TLSError) {
        precondition(!names.isEmpty, "an authority without a name may certify all")
        try Self.check(names)
        self.seconds = seconds
        key = try Certificate.newKey()
        do throws(TLSError) {
            certificate = try Certificate.make(
                called: "Penstock sandbox authority",
                key: key,
                issuer: nil,
                seconds: seconds,
                extensions: [
                    (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"),
                    (NID_key_usage, "critical,keyCertSign"),
                    (NID_name_constraints, "critical," + Self.list(names, "permitted;DNS:")),
                    (NID_subject_key_identifier, "hash"),
                ]
            )
        } catch {
            EVP_PKEY_free(key)
            throw error
        }
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    package var certificatePEM: [UInt8] { Certificate.pem(certificate) }

    /// A certificate with a key of its own for one host.
    package func identity(for host: String) throws(TLSError) -> TLSIdentity {
        try Self.check([host])
        let leafKey = try Certificate.newKey()
        do throws(TLSError) {
            let leaf = try Certificate.make(
                called: "Penstock sandbox",
                key: leafKey,
                issuer: (certificate, key),
                seconds: seconds,
                extensions: [
                    (NID_basic_constraints, "critical,CA:FALSE"),
                    (NID_key_usage, "critical,digitalSignature"),
                    (NID_ext_key_usage, "serverAuth"),
                    (NID_subject_alt_name, "DNS:" + host),
                    (NID_subject_key_identifier, "hash"),
                    (NID_authority_key_identifier, "keyid:always"),
                ]
            )
            return TLSIdentity(certificate: leaf, key: leafKey)
        } catch {
            EVP_PKEY_free(leafKey)
            throw error
        }
    }

    private static func list(_ names: [String], _ kind: String) -> String {
        names.map { kind + $0 }.joined(separator: ",")
    }

    /// OpenSSL takes extensions as text, in which a comma begins the next value.
    private static func check(_ names: [String]) throws(TLSError) {
        for name in names {
            let isPlain = name.utf8.allSatisfy { byte in
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                    || "-_.".utf8.contains(byte)
            }
            guard isPlain, !name.isEmpty, name.utf8.count <= 253 else {
                throw TLSError("\(name) is no name of a host")
            }
        }
    }
}

/// A certificate and its key, for the server's side of TLS.
package final class TLSIdentity: @unchecked Sendable {
    // Safe to share: both are OpenSSL's, counted by reference, and never changed.
    let certificate: OpaquePointer
    let key: OpaquePointer

    init(certificate: OpaquePointer, key: OpaquePointer) {
        self.certificate = certificate
        self.key = key
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    package var certificatePEM: [UInt8] { Certificate.pem(certificate) }
}

/// X.509 by OpenSSL.
private enum Certificate {
    static func newKey() throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        guard let key = penstock_new_key() else { throw TLSError.last("no key of P-256") }
        return key
    }

    /// Signed by the issuer, or by itself.
    static func make(
        called name: String,
        key: OpaquePointer,
        issuer: (certificate: OpaquePointer, key: OpaquePointer)?,
        seconds: Int,
        extensions: [(nid: Int32, value: String)]
    ) throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        guard let certificate = X509_new() else { throw TLSError.last("no certificate") }
        let parent = issuer?.certificate ?? certificate
        let isMade =
            fill(certificate, name: name, key: key, seconds: seconds)
            && X509_set_issuer_name(certificate, X509_get_subject_name(parent)) == 1
            && extensions.allSatisfy { penstock_add_extension(certificate, parent, $0.nid, $0.value) == 1 }
            && X509_sign(certificate, issuer?.key ?? key, EVP_sha256()) > 0
        guard isMade else {
            X509_free(certificate)
            throw TLSError.last("no certificate")
        }
        return certificate
    }

    private static func fill(
        _ certificate: OpaquePointer,
        name: String,
        key: OpaquePointer,
        seconds: Int
    ) -> Bool {
        // Positive, as serial numbers must be.
        let serial = secureRandomBytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } >> 1
        let words = Array(name.utf8)
        let subject = X509_get_subject_name(certificate)
        return X509_set_version(certificate, 2) == 1
            && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial | 1) == 1
            && X509_gmtime_adj(X509_getm_notBefore(certificate), -3_600) != nil
            && X509_gmtime_adj(X509_getm_notAfter(certificate), seconds) != nil
            && X509_NAME_add_entry_by_txt(
                subject,
                "CN",
                MBSTRING_UTF8,
                words,
                Int32(words.count),
                -1,
                0
            ) == 1
            && X509_set_pubkey(certificate, key) == 1
    }

    static func pem(_ certificate: OpaquePointer) -> [UInt8] {
        let memory = BIO_new(BIO_s_mem())
        defer { BIO_free(memory) }
        let isWritten = PEM_write_bio_X509(memory, certificate)
        var bytes: UnsafeMutablePointer<CChar>?
        let count = penstock_bio_bytes(memory, &bytes)
        precondition(isWritten == 1 && count > 0, "no memory for a certificate")
        return Array(UnsafeRawBufferPointer(start: bytes, count: count))
    }
}
