import Foundation

/// A broker of a test's own, to be stopped and killed: made by the `start` of `PENSTOCK_TEST_KAFKA_HOME`.
final class OwnBroker: Sendable {
    static let home: String? = {
        guard let home = ProcessInfo.processInfo.environment["PENSTOCK_TEST_KAFKA_HOME"], !home.isEmpty else {
            print("NOT CHECKED: a broker that stops: PENSTOCK_TEST_KAFKA_HOME names no Apache Kafka")
            return nil
        }
        return home
    }()

    struct Failure: Error {
        let detail: String
    }

    private let home: String
    private let folder: String
    private let port: UInt16

    var bootstrap: String { "127.0.0.1:\(port)" }

    init(_ home: String) throws {
        self.home = home
        folder = FileManager.default.temporaryDirectory.appending(path: "kafka-\(UUID().uuidString)").path
        // The broker's own and its controller's, ten above.
        guard
            let port = (0..<200).lazy.map({ _ in UInt16.random(in: 20_000...31_000) }).first(where: { port in
                Self.isFree(port) && Self.isFree(port + 10)
            })
        else { throw Failure(detail: "no free ports") }
        self.port = port
    }

    func end() {
        // What stays behind is in the temporary folder.
        try? run("stop", [folder, "--kill"])
        try? FileManager.default.removeItem(atPath: folder)
        try? FileManager.default.removeItem(atPath: "\(folder).log")
    }

    func start() throws {
        // Back soon after a crash.
        try run(
            "start",
            [folder, "\(port)", "1", "broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500"]
        )
    }

    func kill() throws { try run("stop", [folder, "--kill"]) }

    /// SIGSTOP or SIGCONT: it neither answers nor closes its connections.
    func signal(_ number: CInt) throws {
        let text = try String(contentsOfFile: "\(folder)/0/pid", encoding: .utf8)
        guard let pid = pid_t(text.filter(\.isNumber)) else { throw Failure(detail: "no pid: \(text)") }
        Glibc.kill(pid, number)
    }

    private func run(_ script: String, _ arguments: [String]) throws {
        // Not Foundation's Process: it waits for everything that inherits its descriptors, the broker too.
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        let errors = "\(folder).log"
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        let path = "\(home)/\(script)"
        var words = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        var status: CInt = 0
        guard posix_spawn(&pid, path, &actions, nil, &words, environ) == 0 else {
            throw Failure(detail: "\(path) can not be started")
        }
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else {
            let words = (try? String(contentsOfFile: errors, encoding: .utf8)) ?? ""
            throw Failure(detail: "\(script) ended with \(status): \(words.suffix(2_000))")
        }
    }

    private static func isFree(_ port: UInt16) -> Bool {
        let socket = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
