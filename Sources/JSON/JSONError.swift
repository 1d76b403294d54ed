/// Why bytes are not the JSON that was expected.
@usableFromInline
package struct JSONError: Error, Hashable, CustomStringConvertible {
    /// In bytes, from the start of the input.
    package let offset: Int
    package let message: String
    /// The members on the way to the fault: `data.sender.id`; empty at the top.
    package var path: String

    package init(offset: Int, message: String, path: String = "") {
        self.offset = offset
        self.message = message
        self.path = path
    }

    @usableFromInline package var description: String {
        (path.isEmpty ? "" : "\(path): ") + "\(message) (at byte \(offset))"
    }

    @usableFromInline
    func under(_ member: String) -> JSONError {
        JSONError(offset: offset, message: message, path: path.isEmpty ? member : "\(member).\(path)")
    }
}
