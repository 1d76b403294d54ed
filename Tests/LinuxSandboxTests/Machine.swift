import Foundation
import LinuxSandbox
import Pipeline
import Testing

/// Who builds the sandbox: root gives each its own user id, an ordinary user maps itself.
enum Builder: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case root, user
    /// The same, from sandboxes made ahead.
    case pooledRoot, pooledUser
    /// The same, with a Python that waits in them.
    case warmRoot, warmUser

    static let ordinaryUser: UInt32 = 64_321

    /// Only root can try all.
    static let here: [Builder] =
        geteuid() == 0 ? [.root, .user, .pooledRoot, .pooledUser] : [.user, .pooledUser]
    /// For programs in Python.
    static let warm: [Builder] = geteuid() == 0 ? [.warmRoot, .warmUser] : [.warmUser]

    var testDescription: String { rawValue }

    private var isUser: Bool { self == .user || self == .pooledUser || self == .warmUser }

    /// Who owns what the sandbox writes.
    var owner: UInt32 { isUser && geteuid() == 0 ? Self.ordinaryUser : geteuid() }

    var settings: LinuxSandbox.Settings {
        var settings = LinuxSandbox.Settings()
        settings.user = isUser && geteuid() == 0 ? Self.ordinaryUser : nil
        settings.poolSize = self == .pooledRoot || self == .pooledUser ? 3 : 0
        settings.pythonPoolSize = self == .warmRoot || self == .warmUser ? 3 : 0
        return settings
    }

    /// One sandbox for each builder serves every test.
    var sandbox: LinuxSandbox {
        get throws { try #require(Self.sandboxes[self]).get() }
    }

    private static let sandboxes = Dictionary(
        uniqueKeysWithValues: (here + warm).map { builder in
            (builder, Result { try LinuxSandbox(builder.settings) })
        }
    )

    /// A new folder that belongs to whoever builds the sandbox.
    func makeFolder() throws -> String {
        var template = Array("/tmp/penstock-sandbox-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
        let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        if owner != geteuid() { chown(path, owner, owner) }
        return path
    }
}

extension SandboxOutcome {
    var text: String { String(decoding: standardOutput + standardError, as: UTF8.self) }
}
