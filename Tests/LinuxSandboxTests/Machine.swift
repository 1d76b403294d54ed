import Foundation
import LinuxSandbox
import Pipeline
import Testing

/// Who builds the sandbox: root gives each its own user id, an ordinary user maps itself.
enum Builder: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case root, user

    static let ordinaryUser: UInt32 = 64_321

    /// Only root can try both.
    static let here: [Builder] = geteuid() == 0 ? [.root, .user] : [.user]

    var testDescription: String { rawValue }

    /// One sandbox for each builder serves every test.
    var sandbox: LinuxSandbox {
        get throws { try self == .root ? Self.asRoot.get() : Self.asUser.get() }
    }

    private static let asRoot = Result { try LinuxSandbox() }
    private static let asUser = Result {
        var settings = LinuxSandbox.Settings()
        settings.user = geteuid() == 0 ? ordinaryUser : nil
        return try LinuxSandbox(settings)
    }

    /// A new folder that belongs to whoever builds the sandbox.
    func makeFolder() throws -> String {
        var template = Array("/tmp/penstock-sandbox-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
        let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        if self == .user, geteuid() == 0 { chown(path, Self.ordinaryUser, Self.ordinaryUser) }
        return path
    }
}

extension SandboxOutcome {
    var text: String { String(decoding: standardOutput + standardError, as: UTF8.self) }
}
