import COpenSSL

/// What connections of one kind have in common. TLS 1.2 or newer, HTTP/1.1 inside, nothing resumed and
/// nothing renegotiated.
package final class TLSContext: @unchecked Sendable {
    // Safe to share: OpenSSL's contexts may be used by many threads once they are set up.
    let pointer: OpaquePointer

    /// The server's side.
    package init(server identity: TLSIdentity) throws(TLSError) {
        pointer = try Self.make(TLS_server_method())
        penstock_serve_http1(pointer)
        guard SSL_CTX_use_certificate(pointer, identity.certificate) == 1,
            SSL_CTX_use_PrivateKey(pointer, identity.key) == 1
        else {
            // `deinit` runs all the same.
            throw TLSError.last("the certificate does not fit its key")
        }
    }

    /// The client's side. It trusts the system's authorities, or those that OpenSSL's own variables
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and those in the file `authorities`.
    package init(clientTrusting authorities: String?) throws(TLSError) {
        pointer = try Self.make(TLS_client_method())
        var isLoaded = SSL_CTX_set_default_verify_paths(pointer) == 1
        if let authorities, isLoaded { isLoaded = SSL_CTX_load_verify_file(pointer, authorities) == 1 }
        guard isLoaded else {
            throw TLSError.last("no certificates in \(authorities ?? "the system's folder")")
        }
    }

    deinit {
        SSL_CTX_free(pointer)
    }

    private static func make(_ method: OpaquePointer?) throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        guard let context = SSL_CTX_new(method), penstock_restrict(context) == 1 else {
            throw TLSError.last("no TLS to be had")
        }
        return context
    }
}
