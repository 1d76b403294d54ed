import Foundation
import Testing

/// Python with the platforms' libraries (`Tests/Interop/requirements.txt`), made once under `.build`.
enum PythonEnvironment {
    static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    static let scripts = root.appending(path: "Tests/Interop")

    private static let ready = Task { await prepare() }

    /// The interpreter; ends the test, loudly, where it cannot be had.
    static func python() async throws -> URL {
        if let python = await ready.value { return python }
        FileHandle.standardError.write(
            Data(
                "NOT CHECKED: the peers from PyPI; no python3 with venv and the packages of Tests/Interop\n"
                    .utf8
            )
        )
        try Test.cancel("python3 with venv and the packages of Tests/Interop cannot be had")
    }

    private static func prepare() async -> URL? {
        let folder = root.appending(path: ".build/interop-python")
        let python = folder.appending(path: "bin/python")
        let requirements = scripts.appending(path: "requirements.txt")
        let mark = folder.appending(path: "requirements.txt")
        let files = FileManager.default
        if files.contentsEqual(atPath: mark.path, andPath: requirements.path) { return python }
        do {
            try? files.removeItem(at: folder)
            let system = URL(filePath: "/usr/bin/env")
            guard try await run(system, ["python3", "-m", "venv", folder.path]).status == 0 else {
                return nil
            }
            let pip = ["-m", "pip", "install", "--quiet", "--timeout", "10", "--retries", "1"]
            guard try await run(python, pip + ["-r", requirements.path]).status == 0 else { return nil }
            try files.copyItem(at: requirements, to: mark)
            return python
        } catch {
            return nil
        }
    }

    struct Outcome: Sendable {
        let status: Int32
        let output: String
    }

    /// Runs the program to its end; its errors go to ours.
    static func run(_ program: URL, _ arguments: [String], input: String = "") async throws -> Outcome {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        let output = Pipe()
        let standardInput = Pipe()
        process.standardOutput = output
        process.standardInput = standardInput
        return try await withCheckedThrowingContinuation { continuation in
            // A thread of its own: it blocks on the pipes.
            Thread.detachNewThread {
                do {
                    try process.run()
                    let writer = Thread { standardInput.fileHandleForWriting.writeAndClose(Data(input.utf8)) }
                    writer.start()
                    let data = output.fileHandleForReading.readDataToEndOfFile()
                    process.waitUntilExit()
                    let text = String(decoding: data, as: UTF8.self)
                    continuation.resume(returning: Outcome(status: process.terminationStatus, output: text))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }
}

extension FileHandle {
    /// A reader that has gone is its own affair.
    fileprivate func writeAndClose(_ data: Data) {
        try? write(contentsOf: data)
        try? close()
    }
}
