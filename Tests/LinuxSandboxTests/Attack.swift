import Foundation
import Pipeline
import Testing

/// One attempt to break out, read, exhaust or linger. The script says BREACH when it got what it wanted.
struct Attack: Sendable, CustomTestStringConvertible {
    enum Language: Sendable {
        case bash, python
    }

    let name: String
    let language: Language
    let script: String
    /// Nothing to show without a sandbox: this kernel refuses anyone, or the attack is on the sandbox itself.
    let onlyInside: Bool

    init(_ name: String, _ language: Language, onlyInside: Bool = false, _ script: String) {
        self.name = name
        self.language = language
        self.script = script
        self.onlyInside = onlyInside
    }

    var testDescription: String { name }

    var command: [String] {
        switch language {
        case .bash: ["/bin/bash", "-c", script]
        case .python: ["/usr/bin/python3", "-c", Self.pythonPrelude + script]
        }
    }

    /// Raw system calls for python: `call(number, …)` gives the result, or -errno.
    private static let pythonPrelude = """
        import ctypes, errno, os, signal, socket, struct, sys, time
        libc = ctypes.CDLL(None, use_errno=True)
        def call(number, *arguments):
            result = libc.syscall(ctypes.c_long(number), *[
                ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments])
            return -ctypes.get_errno() if result < 0 else result
        def breach(condition=True):
            if condition: print("BREACH", flush=True)

        """
}

/// What an attacker would like to reach, set up on the host for the time of a test.
final class Bait: @unchecked Sendable {
    let folder: String
    let secretFile: String
    private let listener: Int32
    private let abstractListener: Int32
    let port: UInt16
    let abstractName: String
    private let inherited: Int32

    init() throws {
        var template = Array("/tmp/penstock-bait-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        secretFile = folder + "/secret"
        try "bait-of-the-host\n".write(toFile: secretFile, atomically: false, encoding: .utf8)
        abstractName = folder
        chmod(folder, 0o755)
        chmod(secretFile, 0o666)
        // Left open across exec on purpose: a descriptor the worker leaks.
        inherited = open(secretFile, O_RDONLY)
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        abstractListener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        port = try Self.listenOnLoopback(listener)
        try Self.listenAbstract(abstractListener, name: abstractName)
    }

    private static func listenOnLoopback(_ listener: Int32) throws -> UInt16 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) | listen(listener, 16) | getsockname(listener, $0, &length)
            }
        }
        guard result == 0 else { throw POSIXError(.EADDRINUSE) }
        return UInt16(bigEndian: address.sin_port)
    }

    private static func listenAbstract(_ listener: Int32, name: String) throws {
        var local = sockaddr_un()
        local.sun_family = sa_family_t(AF_UNIX)
        let bytes = [0] + Array(name.utf8)
        withUnsafeMutableBytes(of: &local.sun_path) { $0.copyBytes(from: bytes) }
        let result = withUnsafePointer(to: &local) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(2 + bytes.count)) | listen(listener, 16)
            }
        }
        guard result == 0 else { throw POSIXError(.EADDRINUSE) }
    }

    var environment: [String: String] {
        [
            "BAIT_FILE": secretFile, "BAIT_FOLDER": folder, "BAIT_PORT": "\(port)",
            "BAIT_ABSTRACT": abstractName,
            "BAIT_PID": "\(getpid())", "BAIT_FD": "\(inherited)",
        ]
    }

    deinit {
        close(listener)
        close(abstractListener)
        close(inherited)
        try? FileManager.default.removeItem(atPath: folder)
    }
}
