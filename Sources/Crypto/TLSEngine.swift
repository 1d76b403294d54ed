import COpenSSL

/// One side of a TLS connection that owns no socket: what came goes in, what is to be sent comes out. Nothing
/// waits. One thread at a time.
package final class TLSEngine {
    private let connection: OpaquePointer
    // Owned by the connection.
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer
    private static let pieceBytes = 16 * 1_024

    /// The handshake is done: of a client's side that means that the server's certificate and name are right.
    package private(set) var isEstablished = false
    /// The other side said that it sends no more. Without it an end is a cut.
    package private(set) var hasEnded = false
    private var hasFailed = false

    package convenience init(server context: TLSContext) throws(TLSError) {
        try self.init(context)
        SSL_set_accept_state(connection)
    }

    /// Its first bytes are at once there to be sent.
    package convenience init(client context: TLSContext, host: String) throws(TLSError) {
        try self.init(context)
        SSL_set_connect_state(connection)
        guard penstock_ask_for(connection, host) == 1 else { throw TLSError.last(host) }
        _ = try receive([])
    }

    private init(_ context: TLSContext) throws(TLSError) {
        ERR_clear_error()
        guard let connection = SSL_new(context.pointer), let incoming = BIO_new(BIO_s_mem()),
            let outgoing = BIO_new(BIO_s_mem())
        else { throw TLSError.last("no memory for TLS") }
        SSL_set_bio(connection, incoming, outgoing)
        (self.connection, self.incoming, self.outgoing) = (connection, incoming, outgoing)
    }

    deinit {
        SSL_free(connection)
    }

    /// Takes what came from the other side, in any pieces; what it says in them. After an error nothing
    /// more may be received or sent; `takeOutgoing` then has the alert that tells the other side.
    package func receive(_ bytes: [UInt8]) throws(TLSError) -> [UInt8] {
        precondition(!hasFailed, "received after a failure")
        ERR_clear_error()
        if !bytes.isEmpty { BIO_write(incoming, bytes, Int32(bytes.count)) }
        if !isEstablished {
            let result = SSL_do_handshake(connection)
            guard result == 1 else {
                if SSL_get_error(connection, result) != SSL_ERROR_WANT_READ { throw failure() }
                return []
            }
            isEstablished = true
        }
        return try plaintext()
    }

    private func plaintext() throws(TLSError) -> [UInt8] {
        var plain: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
        while true {
            let count = SSL_read(connection, &piece, Int32(piece.count))
            if count > 0 {
                plain += piece[..<Int(count)]
                continue
            }
            switch SSL_get_error(connection, count) {
            case SSL_ERROR_WANT_READ: return plain
            case SSL_ERROR_ZERO_RETURN:
                hasEnded = true
                return plain
            default: throw failure()
            }
        }
    }

    /// Only once it is established.
    package func send(_ bytes: [UInt8]) throws(TLSError) {
        precondition(isEstablished && !hasFailed, "sent before the handshake, or after a failure")
        guard !bytes.isEmpty else { return }
        ERR_clear_error()
        guard SSL_write(connection, bytes, Int32(bytes.count)) == Int32(bytes.count) else { throw failure() }
    }

    /// Tells the other side that no more comes.
    package func end() {
        guard isEstablished, !hasFailed else { return }
        ERR_clear_error()
        SSL_shutdown(connection)
        ERR_clear_error()
    }

    /// What is to be sent to the other side now; each byte once.
    package func takeOutgoing() -> [UInt8] {
        let count = BIO_ctrl_pending(outgoing)
        guard count > 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: count)
        let taken = BIO_read(outgoing, &bytes, Int32(count))
        precondition(taken == Int32(count), "a buffer in memory gave \(taken) of \(count) bytes")
        return bytes
    }

    private func failure() -> TLSError {
        hasFailed = true
        let verified = SSL_get_verify_result(connection)
        guard verified == X509_V_OK else {
            ERR_clear_error()
            let words = String(cString: X509_verify_cert_error_string(verified))
            return TLSError("the certificate is refused: \(words)")
        }
        return TLSError.last("TLS failed")
    }
}
