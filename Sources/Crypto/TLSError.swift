import COpenSSL

package struct TLSError: Error, Hashable {
    /// What the library or the other side says, in words.
    package let detail: String

    package init(_ detail: String) {
        self.detail = detail
    }

    /// The first error that the library noted on this thread since `ERR_clear_error`.
    static func last(_ what: String) -> TLSError {
        let code = ERR_peek_error()
        ERR_clear_error()
        guard code != 0, let words = ERR_reason_error_string(code) else { return TLSError(what) }
        return TLSError("\(what): \(String(cString: words))")
    }
}
