import Glibc
package import Pipeline

extension SessionConformance {
    /// Answers each connection with what came before its half was closed.
    private static let echo = """
        import socket, sys, threading, time
        time.sleep(0.3)
        server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)
        def answer(connection):
            with connection:
                came = b"".join(iter(lambda: connection.recv(65536), b""))
                connection.sendall(came)
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],)).start()
        """

    private func started(port: Int, granted: [UInt16]) async throws -> SessionProcess.ID {
        var command = SessionCommand(["python3", "-c", Self.echo, "\(port)"])
        command.ports = granted
        return try await session.start(command)
    }

    func connects() async throws {
        let id = try await started(port: 8_000, granted: [8_000, 8_001])
        try expect(await session.processes().first?.ports == [8_000, 8_001], "its ports are listed")
        // The first comes before the process listens.
        for number in 0..<3 {
            let connection = try await connect(id)
            let said = Self.exchange(Array("hello \(number)".utf8), over: connection)
            try expect(said == Array("hello \(number)".utf8), "it answers: \(said)")
        }
        try await refuses(id, port: 8_001, "nothing listens")
        try await refuses(id, port: 8_002, "not granted")
        // The same port in another's network.
        let other = try await started(port: 8_001, granted: [8_000, 8_001])
        try await refuses(other, port: 8_000, "nothing listens")
        try await session.signal(9, to: id)
        _ = try await session.wait(for: id)
        try await refuses(id, port: 8_000, "ended")
    }

    private func connect(_ id: SessionProcess.ID) async throws -> PortConnection {
        do throws(SandboxError) {
            return try await session.connect(to: id, port: 8_000, patience: .seconds(20))
        } catch {
            let log = String(decoding: try await session.logs(of: id), as: UTF8.self)
            throw ConformanceFailure("\(error); it said: \(log)")
        }
    }

    private func refuses(_ id: SessionProcess.ID, port: UInt16, _ words: String) async throws {
        do throws(SandboxError) {
            _ = try await session.connect(to: id, port: port, patience: .milliseconds(200))
            throw SandboxError(.busy, "port \(port) was reached")
        } catch {
            try expect(error.kind == .invalid && error.detail.contains(words), "\(error)")
        }
    }

    /// Sends, closes its half, and reads to the end.
    package static func exchange(_ bytes: [UInt8], over connection: PortConnection) -> [UInt8] {
        let descriptor = connection.descriptor
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        shutdown(descriptor, Int32(SHUT_WR))
        var said: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &piece, piece.count, 0)
            guard count > 0 else { return said }
            said += piece[..<count]
        }
    }
}
