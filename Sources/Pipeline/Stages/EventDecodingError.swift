/// Why something is not an event of ours.
package struct EventDecodingError: Error, Hashable {
    /// The attribute or member at fault: `id`, `data.sender.id`, `key`.
    package let field: String
    package let reason: String

    package init(_ field: String, _ reason: String) {
        self.field = field
        self.reason = reason
    }

    package var detail: String { "\(field): \(reason)" }
}
