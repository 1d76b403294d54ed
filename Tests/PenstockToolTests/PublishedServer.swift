import Foundation
import Testing

/// A command in the sandbox with a published port, in front or in the background; killed with it.
final class PublishedServer {
    enum Place: CaseIterable {
        case front, background
    }

    /// Answers each connection with all that came, backwards, once the other side's half has ended.
    static let backwards = """
        import socket, threading
        server = socket.create_server(("127.0.0.1", 8000), backlog=64)
        def answer(connection):
            with connection:
                came = b"".join(iter(lambda: connection.recv(65536), b""))
                connection.sendall(came[::-1])
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],)).start()
        """

    let port: UInt16
    /// Of the program that passes connections on.
    let process: Int32
    private let ground: SessionGround
    private let front: Process?
    let id: String?

    /// Publishes port 8000 at a free one of the host.
    init(_ place: Place, _ ground: SessionGround, verb: String = "exec", _ command: [String]) throws {
        self.ground = ground
        let options = ["--publish", "0:8000", "--timeout", "120"]
        guard place == .front else {
            let started = try ground.run(verb, ["--detach"] + options + ["--"] + command)
            let lines = started.text.split(separator: "\n").map(String.init)
            try #require(started.status == 0 && lines.count == 2, "\(started.text)")
            (port, id, front) = (try Self.port(lines[0]), lines[1], nil)
            process = try ground.keeper(of: lines[1])
            return
        }
        let (front, said) = (Process(), Pipe())
        front.executableURL = SessionGround.program
        front.arguments =
            verb == "run"
            ? ["sandbox", "run"] + options + ["--"] + command
            : ground.arguments(verb, options + ["--"] + command)
        (front.standardInput, front.standardOutput) = (FileHandle.nullDevice, FileHandle.nullDevice)
        front.standardError = said
        try front.run()
        // A program that says nothing ends at its limit of time, and this with it.
        let line = String(decoding: said.fileHandleForReading.availableData, as: UTF8.self)
        (port, id, self.front) = (try Self.port(line), nil, front)
        process = front.processIdentifier
    }

    deinit {
        // One in the background ends with its session's folder.
        guard let front, front.isRunning else { return }
        kill(process, SIGKILL)
        front.waitUntilExit()
    }

    private static func port(_ line: String) throws -> UInt16 {
        let match = try #require(
            line.firstMatch(of: /^sandbox: 127\.0\.0\.1:(\d+) leads to port 8000/),
            "\(line)"
        )
        return try #require(UInt16(match.1))
    }

    /// Tells the command to stop, and waits until nothing of it is left; the status of one in front.
    @discardableResult
    func stop() throws -> Int32? {
        kill(process, SIGTERM)
        if let id { try ground.await(id, "signalled 15") }
        return wait()
    }

    func wait() -> Int32? {
        front?.waitUntilExit()
        return front?.terminationStatus
    }

    /// Descriptors that the program has open.
    var descriptors: Int {
        get throws { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count }
    }

    /// What the program says of its memory: `VmHWM` is the most that it ever had.
    func memoryMiB(_ field: String) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(field) }, "\(text)")
        let kib = line.split { !$0.isNumber }.first.flatMap { Int($0) }
        return try #require(kib, "\(line)") / 1_024
    }

    /// What a client outside says, which has the port and the words in `sys.argv`. Its sockets wait a minute
    /// at most.
    func ask(_ script: String, _ words: [String] = []) throws -> String {
        let (client, said) = (Process(), Pipe())
        client.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        client.arguments = ["-c", Self.preamble + script, "\(port)"] + words
        (client.standardInput, client.standardOutput) = (FileHandle.nullDevice, said)
        client.standardError = said
        try client.run()
        let text = String(decoding: said.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        client.waitUntilExit()
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static let preamble = """
        import hashlib, os, socket, struct, sys, threading, time
        socket.setdefaulttimeout(60)
        def connect(host="127.0.0.1"): return socket.create_connection((host, int(sys.argv[1])))
        def rest(connection): return b"".join(iter(lambda: connection.recv(65536), b""))
        def exchange(sent):
            with connect() as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                return rest(connection)

        """
}
