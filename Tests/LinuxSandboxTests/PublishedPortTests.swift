import Foundation
import LinuxSandbox
import Network
import Pipeline
import Testing

/// What the command's own tests can not arrange: connections that are there before the run begins.
@Suite("Published ports")
struct PublishedPortTests {
    private static let server = """
        import socket
        server = socket.create_server(("127.0.0.1", 8000), backlog=64)
        while True:
            with server.accept()[0] as connection: connection.sendall(b"from inside")
        """

    private struct Published {
        let control = SandboxControl()
        let ports: PublishedPorts
        let host: UInt16

        init() throws {
            let (listener, port) = try Socket.listen(host: "127.0.0.1", port: 0)
            // Beside other tests a sandbox may take long to start.
            ports = PublishedPorts([(listener, 8_000)], control: control, patience: .seconds(60))
            host = port
        }

        /// A client that waits a minute at most.
        func connect() throws -> PortConnection {
            let descriptor = try Socket.connect(to: [127, 0, 0, 1], port: host)
            var minute = timeval(tv_sec: 60, tv_usec: 0)
            setsockopt(
                descriptor,
                SOL_SOCKET,
                SO_RCVTIMEO,
                &minute,
                socklen_t(MemoryLayout<timeval>.size)
            )
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
            return PortConnection(taking: descriptor)
        }
    }

    /// All that comes, and nil when it ends otherwise than by its end. On a thread that may block.
    private func rest(_ connection: PortConnection) async -> String? {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                var said: [UInt8] = []
                var piece = [UInt8](repeating: 0, count: 4_096)
                var count = 0
                repeat {
                    count = recv(connection.descriptor, &piece, piece.count, 0)
                    said += piece.prefix(max(0, count))
                } while count > 0
                continuation.resume(returning: count == 0 ? String(decoding: said, as: UTF8.self) : nil)
            }
        }
    }

    @Test("40 connections that come before the run are all answered", arguments: Builder.here)
    func early(builder: Builder) async throws {
        let published = try Published()
        var run = SandboxRun(command: ["python3", "-c", Self.server])
        run.ports = [8_000]
        let clients = try (0..<40).map { _ in try published.connect() }
        // Time for them to be dialled: they are more than can wait for a run.
        try await Task.sleep(for: .milliseconds(200))

        async let ended = builder.sandbox.run(run, control: published.control) { _, _ in }
        for client in clients {
            #expect(await rest(client) == "from inside")
        }

        published.control.signal(SIGKILL)
        _ = try await ended
        await published.ports.close()
    }

    @Test("where the run never begins, clients and listener are given up")
    func never() async throws {
        let published = try Published()
        let clients = try (0..<40).map { _ in try published.connect() }

        published.control.end()
        await published.ports.close()

        for client in clients {
            #expect(await rest(client) == nil)
        }
        let late = try published.connect()
        #expect(await rest(late) == nil)
    }
}
