import Foundation
import Testing

/// An HTTP server on the host's loopback, in a process of its own: answers with the request's head and body
/// as they came; `/large` with 3 MB, `/redirect` with the way to the metadata service.
final class WebServer: Sendable {
    let port: UInt16
    /// Of a server that speaks TLS: the certificate that its clients must trust, for `api.test`.
    let certificate: String
    private let folder: String

    /// Each serves all tests, and ends with them: its standard input ends then.
    static let plain = Result { try WebServer(isTLS: false) }
    static let overTLS = Result { try WebServer(isTLS: true) }

    private init(isTLS: Bool) throws {
        var template = Array("/tmp/penstock-web-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        certificate = folder + "/cert.pem"
        if isTLS {
            _ = try Outside.run(
                [
                    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes",
                    "-keyout", folder + "/key.pem", "-out", certificate, "-days", "2", "-subj",
                    "/CN=api.test",
                    "-addext", "subjectAltName=DNS:api.test,DNS:*.api.test",
                ],
                environment: [:],
                in: folder
            )
        }
        port = try Self.start(folder, isTLS)
    }

    private static func start(_ folder: String, _ isTLS: Bool) throws -> UInt16 {
        var (input, output): ([Int32], [Int32]) = ([-1, -1], [-1, -1])
        guard pipe(&input) == 0, pipe(&output) == 0 else { throw POSIXError(.EMFILE) }
        for end in input + output { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input[0], 0)
        posix_spawn_file_actions_adddup2(&actions, output[1], 1)
        let words = ["/usr/bin/python3", "-c", script, folder, isTLS ? "tls" : ""]
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var child: pid_t = 0
        let error = posix_spawn(&child, "/usr/bin/python3", &actions, nil, arguments, environ)
        close(input[0])
        close(output[1])
        defer { close(output[0]) }
        guard error == 0 else { throw POSIXError(.ENOENT) }
        var line = [UInt8](repeating: 0, count: 64)
        let count = read(output[0], &line, line.count)
        let text = String(decoding: line.prefix(max(0, count)), as: UTF8.self)
        return try #require(UInt16(text.trimmingCharacters(in: .whitespacesAndNewlines)), "\(text)")
    }

    private static let script = """
        import http.server, os, shutil, ssl, sys, threading
        class Echo(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                text = (self.requestline + "\\n" + str(self.headers)).encode() + body
                if self.path == "/large": text = b"x" * 3000000
                self.send_response(302 if self.path == "/redirect" else 200)
                if self.path == "/redirect": self.send_header("Location", "http://169.254.169.254/latest/")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            do_POST = do_GET
            def log_message(self, *arguments): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        if sys.argv[2]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
            # Each in its own thread: a client that never comes to an end must not hold up the others.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False)
        def end():
            sys.stdin.read()
            shutil.rmtree(sys.argv[1], True)
            os._exit(0)
        threading.Thread(target=end, daemon=True).start()
        os.write(1, b"%d\\n" % server.server_port)
        server.serve_forever()
        """
}
