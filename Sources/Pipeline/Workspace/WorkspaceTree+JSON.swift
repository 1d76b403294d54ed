package import JSON

extension WorkspaceTree: JSONObjectCoded {
    package init() {
        self.init(entries: [])
    }

    package static let fields = JSONFields<Self>(
        title: "Workspace",
        doc: "The files of a conversation's workspace; their bytes are the objects b/<sha256>.",
        [.required("entries", \.entries, "Sorted by the bytes of their paths.")]
    )
}

extension WorkspaceEntry: JSONObjectCoded {
    package init() {
        self.init(path: [], node: .directory(mode: 0o755))
    }

    package static let fields = JSONFields<Self>(
        title: "Workspace entry",
        doc: "A folder has a mode alone, a file size and sha256 too, a symbolic link a target.",
        [
            .optional("path", \.pathText, "Relative path, when it is UTF-8."),
            .optional("path_base64", \.pathBase64, "The path in base64, when it is not."),
            .optional("mode", \.mode, "Permission bits."),
            .optional("size", \.size, "Bytes of a file."),
            .optional("sha256", \.sha256, "Hash of a file's bytes, hexadecimal."),
            .optional("target", \.targetText, "A symbolic link's target, when it is UTF-8."),
            .optional("target_base64", \.targetBase64, "The target in base64, when it is not."),
        ]
    )

    private static func text(_ bytes: [UInt8]) -> String? {
        String(validating: bytes, as: UTF8.self)
    }

    private var pathText: String? {
        get { Self.text(path) }
        set { path = Array((newValue ?? "").utf8) }
    }

    private var pathBase64: String? {
        get { Self.text(path) == nil ? Base64.encode(path) : nil }
        set { path = newValue.flatMap(Base64.decode) ?? [] }
    }

    private var mode: Int? {
        get {
            switch node {
            case .directory(let mode), .file(let mode, _, _): mode
            case .symlink: nil
            }
        }
        set {
            guard let mode = newValue else { return }
            switch node {
            case .file(_, let size, let hash): node = .file(mode: mode, size: size, sha256: hash)
            case .directory, .symlink: node = .directory(mode: mode)
            }
        }
    }

    private var size: Int? {
        get { if case .file(_, let size, _) = node { size } else { nil } }
        set {
            guard let size = newValue else { return }
            node = .file(mode: mode ?? 0, size: size, sha256: sha256 ?? "")
        }
    }

    private var sha256: String? {
        get { if case .file(_, _, let hash) = node { hash } else { nil } }
        set {
            guard let hash = newValue else { return }
            node = .file(mode: mode ?? 0, size: size ?? 0, sha256: hash)
        }
    }

    private var target: [UInt8]? {
        get { if case .symlink(let target) = node { target } else { nil } }
        set { if let target = newValue { node = .symlink(target: target) } }
    }

    private var targetText: String? {
        get { target.flatMap(Self.text) }
        set { target = newValue.map { Array($0.utf8) } }
    }

    private var targetBase64: String? {
        get { target.flatMap { Self.text($0) == nil ? Base64.encode($0) : nil } }
        set { target = newValue.flatMap(Base64.decode) ?? [] }
    }
}
