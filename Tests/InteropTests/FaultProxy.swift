import Foundation

/// `Tests/Interop/fault_proxy.py` before a server of this machine, until it is stopped.
final class FaultProxy {
    let port: Int
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    init(before upstream: Int, seed: UInt64, share: Double, _ python: URL) throws {
        process.executableURL = python
        let script = PythonEnvironment.scripts.appending(path: "fault_proxy.py").path
        process.arguments = [script, "\(upstream)", "\(seed)", "\(share)"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        var line = Data()
        while let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty, byte[0] != 0x0A {
            line += byte
        }
        guard let port = Int(String(decoding: line, as: UTF8.self)) else {
            throw CocoaError(.featureUnsupported)
        }
        self.port = port
    }

    /// How often each fault happened.
    func stop() throws -> String {
        try input.fileHandleForWriting.close()
        let counts = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: counts, as: UTF8.self)
    }
}
