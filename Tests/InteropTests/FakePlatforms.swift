import Foundation
import JSON

/// `ops/examples/fake_platforms.py`, running on a free port until it is stopped.
final class FakePlatforms: Sendable {
    let base: String
    private let pid: Int32

    init() async throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        let script = PythonEnvironment.root.appending(path: "ops/examples/fake_platforms.py").path
        process.arguments = ["python3", script, "--port", "0", "--quiet"]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        pid = process.processIdentifier
        let line = await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var text = Data()
                while let byte = try? output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty,
                    byte[0] != 0x0A
                {
                    text += byte
                }
                continuation.resume(returning: String(decoding: text, as: UTF8.self))
            }
        }
        guard let address = line.split(separator: " ").last, address.hasPrefix("http://") else {
            throw CocoaError(
                .featureUnsupported,
                userInfo: [NSDebugDescriptionErrorKey: "no address in: \(line)"]
            )
        }
        base = String(address)
    }

    func stop() {
        // It inherits the signals that this thread blocks, SIGTERM among them.
        kill(pid, SIGKILL)
    }
}
