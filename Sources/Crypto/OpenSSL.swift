import COpenSSL

/// The library's own state.
package enum OpenSSL {
    /// Leaves that state to the end of the process. By itself OpenSSL takes it down within `exit`, while
    /// other threads may still be giving back what they hold of it, and the process ends by a signal now and
    /// then. To be called before anything else of OpenSSL, by whoever ends processes with `exit`.
    package static func keepUntilTheEnd() {
        OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
    }
}
