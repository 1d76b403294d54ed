/// A YAML value with the place it came from. Lines and columns count from 1.
package struct YAMLNode: Sendable, Hashable {
    package enum Content: Sendable, Hashable {
        /// `isPlain`: without quotes, so that `12`, `true` and `null` mean what they look like.
        case scalar(String, isPlain: Bool)
        case sequence([YAMLNode])
        /// In the order of the document.
        case mapping([Entry])
    }

    package struct Entry: Sendable, Hashable {
        package let key: YAMLNode
        package let value: YAMLNode
    }

    package let content: Content
    package let line: Int
    package let column: Int

    package init(content: Content, line: Int, column: Int) {
        self.content = content
        self.line = line
        self.column = column
    }
}

// YAML 1.2's core types: only `true` and `false` are booleans, so that `NO` and `on` stay words.
extension YAMLNode {
    /// Any scalar's text; nil for collections.
    package var text: String? {
        guard case .scalar(let text, _) = content else { return nil }
        return text
    }

    package var isNull: Bool {
        guard case .scalar(let text, true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    package var bool: Bool? {
        guard case .scalar(let text, true) = content else { return nil }
        if ["true", "True", "TRUE"].contains(text) { return true }
        return ["false", "False", "FALSE"].contains(text) ? false : nil
    }

    package var integer: Int? {
        guard case .scalar(let text, true) = content else { return nil }
        return Int(text)
    }

    package var elements: [YAMLNode]? {
        guard case .sequence(let elements) = content else { return nil }
        return elements
    }

    package var entries: [Entry]? {
        guard case .mapping(let entries) = content else { return nil }
        return entries
    }

    package subscript(name: String) -> YAMLNode? {
        entries?.first { $0.key.text == name }?.value
    }
}

package struct YAMLError: Error, Hashable {
    package let message: String
    package let line: Int
    package let column: Int
}
