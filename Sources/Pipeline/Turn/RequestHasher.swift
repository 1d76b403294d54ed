import Crypto
import JSON

/// Hashes the model requests of one conversation: most begin with all messages of the one before, and these
/// are not written and hashed again.
package struct RequestHasher: Sendable {
    private var messages: [ModelMessage] = []
    /// Of the JSON from its start to the last of `messages`.
    private var prefix = start

    /// What comes before the messages: they are the first member.
    private static let opening = Array("{\"messages\":".utf8)
    private static let start = SHA256.Prefix().adding(opening[...])

    package init() {}

    /// SHA-256 of the request's canonical JSON, hex.
    package mutating func hash(_ request: ModelRequest) -> String {
        if !begins(request) { self = Self() }
        let added = Array(request.messages[messages.count...]).json
        if messages.isEmpty {
            prefix = Self.start.adding(added.dropLast())
        } else if request.messages.count > messages.count {
            prefix = prefix.adding([UInt8(ascii: ",")]).adding(added.dropFirst().dropLast())
        }
        messages = request.messages
        var rest = request
        rest.messages = []
        // From the bracket that ends the messages.
        return prefix.adding(rest.json.dropFirst(Self.opening.count + 1)).hex
    }

    private func begins(_ request: ModelRequest) -> Bool {
        // In place: `starts(with:)` would copy each message.
        messages.count <= request.messages.count
            && messages.indices.allSatisfy { request.messages[$0] == messages[$0] }
    }
}
