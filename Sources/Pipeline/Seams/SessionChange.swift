/// Something changed in a session's folder.
package struct SessionChange: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// Made, or moved here from where nobody watches.
        case created
        /// Its content; several changes close together may be told once.
        case changed
        /// Or moved to where nobody watches, which is told up to a second later.
        case deleted
        /// A folder with all that is in it.
        case moved(from: String)
        /// Changes at the path and below it were lost, or are not watched from now on: too many at a time, or
        /// too many folders. An empty path is the whole folder.
        case incomplete
    }

    package let kind: Kind
    /// Relative to the session's folder. Bytes that are no UTF-8 are replaced.
    package let path: String

    package init(_ kind: Kind, _ path: String) {
        self.kind = kind
        self.path = path
    }
}
