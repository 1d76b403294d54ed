import Foundation
import Testing

/// A data folder of one test, with a session `one`: removed with it, and what runs in it killed.
final class SessionGround {
    static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "penstock")

    let folder: String
    private let settings: String

    /// What its commands know as /work.
    var work: String { folder + "/data/sandboxes/one/work" }

    init() throws {
        var template = Array("/tmp/penstock-session-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        settings = folder + "/penstock.yaml"
        try "data: \(folder)/data\n".write(toFile: settings, atomically: false, encoding: .utf8)
    }

    deinit {
        for id in (try? FileManager.default.contentsOfDirectory(atPath: processes)) ?? [] {
            // One that has ended is not killed, and what stays behind is in /tmp.
            _ = try? run("kill", [id, "--signal", "9"])
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    private var processes: String { folder + "/data/sandboxes/one/processes" }

    func arguments(_ verb: String, _ arguments: [String]) -> [String] {
        ["sandbox", verb, "--config", settings, "--session", "one"] + arguments
    }

    func run(_ verb: String, _ arguments: [String]) throws -> (status: Int32, text: String) {
        let process = Process()
        let output = Pipe()
        process.executableURL = Self.program
        process.arguments = self.arguments(verb, arguments)
        (process.standardInput, process.standardOutput) = (FileHandle.nullDevice, output)
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }

    /// Asks `ps` until the process is in the state.
    func await(_ id: String, _ state: String) throws {
        for _ in 0..<600 {
            let text = try run("ps", ["--json"]).text
            if text.contains("\"id\":\(id),") && text.contains("\"state\":\"\(state)\"") { return }
        }
        Issue.record("process \(id) never was \(state): \(try run("ps", []).text)")
    }

    /// The number of the program that waits for a background process.
    func keeper(of id: String) throws -> Int32 {
        let text = try String(contentsOfFile: "\(processes)/\(id)/keeper", encoding: .utf8)
        return try #require(text.split(separator: " ").first.flatMap { Int32($0) }, "\(text)")
    }
}
