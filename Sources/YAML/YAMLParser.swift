import CYAML

package enum YAML {
    package enum Mode: Sendable {
        /// For settings: a name twice, anchors, aliases, `<<`, tags and second documents are refused.
        case strict
        /// For other people's files: those are accepted, within limits; only the first document is read.
        case lenient
    }

    static let depthMax = 64
    /// Nodes that a document may become, aliases followed.
    static let nodesMax = 100_000

    /// Nil for a document without content.
    package static func parse(_ text: [UInt8], _ mode: Mode) throws(YAMLError) -> YAMLNode? {
        try YAMLParser(mode: mode).parse(text)
    }
}

/// Builds nodes from libyaml's events.
///
/// libyaml's parser holds a pointer to itself, so it stays at one address.
private final class YAMLParser {
    let mode: YAML.Mode
    private var anchors: [String: YAMLNode] = [:]
    private var nodes = 0
    private var sizes: [String: Int] = [:]
    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private var event = yaml_event_t()
    private var text: [UInt8] = []

    init(mode: YAML.Mode) {
        self.mode = mode
    }

    deinit {
        parser.deallocate()
    }

    func parse(_ input: [UInt8]) throws(YAMLError) -> YAMLNode? {
        // A byte order mark would shift the first line's columns.
        text = input.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(input.dropFirst(3)) : input
        guard yaml_parser_initialize(parser) == 1 else {
            throw YAMLError(message: "no memory", line: 1, column: 1)
        }
        defer { yaml_parser_delete(parser) }
        let result = text.withUnsafeBufferPointer { buffer -> Result<YAMLNode?, YAMLError> in
            yaml_parser_set_input_string(parser, buffer.baseAddress, buffer.count)
            yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
            do throws(YAMLError) {
                return .success(try document())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func document() throws(YAMLError) -> YAMLNode? {
        defer { yaml_event_delete(&event) }
        try advance()
        try advance()
        guard event.type == YAML_DOCUMENT_START_EVENT else { return nil }
        try advance()
        let root = try node(depth: 0)
        try advance()
        if mode == .strict {
            try advance()
            guard event.type == YAML_STREAM_END_EVENT else {
                throw failure("a second document; one is expected")
            }
        }
        return root
    }

    private func advance() throws(YAMLError) {
        yaml_event_delete(&event)
        guard yaml_parser_parse(parser, &event) == 1 else { throw parserFailure() }
    }

    /// From the event that begins the node to the one that ends it.
    private func node(depth: Int) throws(YAMLError) -> YAMLNode {
        guard depth <= YAML.depthMax else { throw failure("more than \(YAML.depthMax) levels") }
        nodes += 1
        guard nodes <= YAML.nodesMax else { throw failure("more than \(YAML.nodesMax) values") }
        let (line, column) = (Int(event.start_mark.line) + 1, Int(event.start_mark.column) + 1)
        let before = nodes
        let content: YAMLNode.Content
        var anchor: String?
        switch event.type {
        case YAML_ALIAS_EVENT: return try alias()
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            anchor = try check(anchor: scalar.anchor, tag: scalar.tag)
            let value = String(
                decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length),
                as: UTF8.self
            )
            content = .scalar(value, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
        case YAML_SEQUENCE_START_EVENT:
            anchor = try check(anchor: event.data.sequence_start.anchor, tag: event.data.sequence_start.tag)
            content = .sequence(try elements(depth: depth))
        case YAML_MAPPING_START_EVENT:
            anchor = try check(anchor: event.data.mapping_start.anchor, tag: event.data.mapping_start.tag)
            content = .mapping(try entries(depth: depth))
        default: throw failure("a value is missing")
        }
        let node = YAMLNode(content: content, line: line, column: column)
        if let anchor {
            anchors[anchor] = node
            sizes[anchor] = nodes - before + 1
        }
        return node
    }

    private func elements(depth: Int) throws(YAMLError) -> [YAMLNode] {
        var elements: [YAMLNode] = []
        try advance()
        while event.type != YAML_SEQUENCE_END_EVENT {
            elements.append(try node(depth: depth + 1))
            try advance()
        }
        return elements
    }

    private func entries(depth: Int) throws(YAMLError) -> [YAMLNode.Entry] {
        var entries: [YAMLNode.Entry] = []
        var seen: Set<String> = []
        try advance()
        while event.type != YAML_MAPPING_END_EVENT {
            let key = try node(depth: depth + 1)
            let isNew = key.text.map { seen.insert($0).inserted } ?? true
            if mode == .strict {
                guard isNew else {
                    throw YAMLError(
                        message: "\"\(key.text ?? "")\" is there twice",
                        line: key.line,
                        column: key.column
                    )
                }
                guard key.text != "<<" else {
                    throw YAMLError(message: "<< is not understood here", line: key.line, column: key.column)
                }
            }
            try advance()
            entries.append(YAMLNode.Entry(key: key, value: try node(depth: depth + 1)))
            try advance()
        }
        return entries
    }

    private func alias() throws(YAMLError) -> YAMLNode {
        let name = String(cString: event.data.alias.anchor)
        guard mode == .lenient else { throw failure("*\(name): aliases are not understood here") }
        guard let node = anchors[name] else { throw failure("*\(name) names nothing") }
        nodes += sizes[name] ?? 1
        guard nodes <= YAML.nodesMax else { throw failure("more than \(YAML.nodesMax) values") }
        return node
    }

    private func check(
        anchor: UnsafeMutablePointer<yaml_char_t>?,
        tag: UnsafeMutablePointer<yaml_char_t>?
    ) throws(YAMLError) -> String? {
        if mode == .strict {
            guard anchor == nil else { throw failure("anchors (&) are not understood here") }
            guard tag == nil else { throw failure("tags (!) are not understood here") }
        }
        return anchor.map { String(cString: $0) }
    }

    private func failure(_ message: String) -> YAMLError {
        YAMLError(
            message: message,
            line: Int(event.start_mark.line) + 1,
            column: Int(event.start_mark.column) + 1
        )
    }

    private func parserFailure() -> YAMLError {
        var message = parser.pointee.problem.map { String(cString: $0) } ?? "not YAML"
        if parser.pointee.error == YAML_READER_ERROR {
            // libyaml gives bytes that are not UTF-8 no line of their own.
            let before = text.prefix(Int(parser.pointee.problem_offset))
            let line = before.reduce(1) { $1 == 0x0A ? $0 + 1 : $0 }
            let column = before.reversed().prefix { $0 != 0x0A }.count + 1
            return YAMLError(message: message, line: line, column: column)
        }
        if message == "found character that cannot start any token" {
            message = "a character that starts nothing: a tab perhaps; indent with spaces"
        }
        return YAMLError(
            message: message,
            line: Int(parser.pointee.problem_mark.line) + 1,
            column: Int(parser.pointee.problem_mark.column) + 1
        )
    }
}
