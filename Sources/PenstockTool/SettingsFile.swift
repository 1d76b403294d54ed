import Glibc
import Pipeline
import YAML

/// Finds and reads the settings of a command.
enum SettingsFile {
    /// The file that a person names; nil where the folder's own is taken.
    static func named(_ invocation: Invocation) -> String? {
        invocation.value("config") ?? environment("PENSTOCK_CONFIG")
    }

    static func load(_ invocation: Invocation) throws(SettingsError) -> Settings {
        let named = named(invocation)
        let path = named ?? "penstock.yaml"
        guard let text = Files.read(path) else {
            if named == nil, access(path, F_OK) != 0 { return try Settings(nil, context(path)) }
            throw SettingsError("\(path): can not be read: \(String(cString: strerror(errno)))")
        }
        let root: YAMLNode?
        do throws(YAMLError) {
            root = try YAML.parse(text, .strict)
        } catch {
            throw SettingsError("\(path):\(error.line):\(error.column): \(error.message)")
        }
        return try Settings(root, context(path))
    }

    private static func context(_ path: String) -> SettingsContext {
        SettingsContext(
            file: path,
            folder: path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "",
            environment: environment,
            readFile: { Files.read($0).map { String(decoding: $0, as: UTF8.self) } }
        )
    }

    static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }
}

enum Files {
    private static let bytesMax = 4 << 20

    /// Nil when it cannot be read, or is larger than 4 MiB.
    static func read(_ path: String) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= bytesMax {
            let count = Glibc.read(file, &piece, piece.count)
            guard count > 0 else { return count == 0 ? bytes : nil }
            bytes += piece[..<count]
        }
        return nil
    }

    /// Whole or not at all.
    static func replace(_ path: String, _ text: String) -> Bool {
        let draft = "\(path).\(getpid())"
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { return false }
        let bytes = Array(text.utf8)
        let isWritten = Glibc.write(file, bytes, bytes.count) == bytes.count
        close(file)
        return isWritten && rename(draft, path) == 0
    }
}
