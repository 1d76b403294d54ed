/// Objects by key, with conditional writes, in S3's terms.
///
/// Contract, held by a conformance suite: a put is atomic and durable once it returns; of any number of puts
/// with `.absent` on one key exactly one is `.stored`; a get after a put sees it; a list has each key once,
/// and those of one folder (equal up to their last slash) in rising byte order. In which order folders come
/// is the store's own (`b/1` may precede `b-1`), but it is fixed, and `after` goes on in it. Keys are 1…900
/// bytes of `A-Z a-z 0-9 . _ ~ % = - /`, no empty, `.` or `..` segment.
package protocol ObjectStore: Sendable {
    /// Nil when there is no such object.
    func get(_ key: String) async throws(ObjectStoreError) -> StoredObject?

    /// A put that failed with `.unreachable` may have taken effect; putting the same body again is always
    /// safe, and a caller that needs to know who won puts an id of its own into the body.
    func put(
        _ key: String,
        _ body: [UInt8],
        if condition: PutCondition
    ) async throws(ObjectStoreError) -> PutResult

    /// Keys that start with the prefix and come after `after`, in the store's order, at most `limit`
    /// (1…1,000). `after` need not exist; then it must be in a folder that does.
    func list(
        prefix: String,
        after: String?,
        limit: Int
    ) async throws(ObjectStoreError) -> ObjectListing

    /// Removing what is not there is no error.
    func delete(_ key: String) async throws(ObjectStoreError)
}

package struct StoredObject: Sendable, Hashable {
    package let body: [UInt8]
    /// Opaque; changes with every put of another body.
    package let etag: String

    package init(body: [UInt8], etag: String) {
        self.body = body
        self.etag = etag
    }
}

package enum PutCondition: Sendable, Hashable {
    case always
    case absent
    case unchanged(etag: String)
}

package enum PutResult: Sendable, Hashable {
    case stored(etag: String)
    /// The condition did not hold; nothing was written by this call, or by an earlier try of it whose
    /// response was lost: compare the body to tell.
    case conditionFailed
}

package struct ObjectListing: Sendable, Hashable {
    package struct Entry: Sendable, Hashable {
        package let key: String
        package let byteCount: Int

        package init(key: String, byteCount: Int) {
            self.key = key
            self.byteCount = byteCount
        }
    }

    package let entries: [Entry]
    /// There are more keys after the last entry.
    package let isTruncated: Bool

    package init(entries: [Entry], isTruncated: Bool) {
        self.entries = entries
        self.isTruncated = isTruncated
    }
}

package struct ObjectStoreError: Error, Hashable {
    package enum Kind: Sendable {
        /// No answer, or a 5xx: try again later.
        case unreachable
        case denied
        /// The key or the call is wrong.
        case invalid
        /// Full disk, quota, too large.
        case noSpace
        /// What is stored is not what was put.
        case corrupt
        /// The store does not honour conditions and must not be used.
        case unsupported
    }

    package let kind: Kind
    /// What, where, and the other side's words; for the log.
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
