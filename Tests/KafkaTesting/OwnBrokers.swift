import Foundation

/// Brokers of a test's own, to be stopped and killed: made by the `start` of `PENSTOCK_TEST_KAFKA_HOME`. Its
/// calls block until what they ask for is so.
package final class OwnBrokers: Sendable {
    package static let home: String? = {
        guard let home = ProcessInfo.processInfo.environment["PENSTOCK_TEST_KAFKA_HOME"], !home.isEmpty else {
            print("NOT CHECKED: brokers that stop: PENSTOCK_TEST_KAFKA_HOME names no Apache Kafka")
            return nil
        }
        return home
    }()

    /// `CHAOS_KEEP=…`: a folder for what is left of a failed run.
    package static let keepFolder = ProcessInfo.processInfo.environment["CHAOS_KEEP"].flatMap {
        $0.isEmpty ? nil : $0
    }

    package struct Failure: Error {
        package let detail: String
    }

    /// Missed soon after a crash, and what a killed worker leaves open is soon ended.
    private static let settings = [
        "broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
    ]

    package let count: Int
    private let home: String
    private let folder: String
    private let port: UInt16

    package var bootstrap: String {
        (0..<count).map { "127.0.0.1:\(Int(port) + $0)" }.joined(separator: ",")
    }

    /// One broker, or three that hold every record three times and take it when two have it.
    package init(_ home: String, count: Int = 1) throws {
        self.count = count
        self.home = home
        folder = FileManager.default.temporaryDirectory.appending(path: "kafka-\(UUID().uuidString)").path
        // The brokers' own and their controllers', ten above.
        let offsets = (0..<UInt16(count)).flatMap { [$0, $0 + 10] }
        guard
            let port = (0..<200).lazy.map({ _ in UInt16.random(in: 20_000...31_000) }).first(where: { port in
                offsets.allSatisfy { Self.isFree(port + $0) }
            })
        else { throw Failure(detail: "no free ports") }
        self.port = port
        // One of chance may begin with "-", which Kafka's own tool takes for an option.
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let bytes = (0..<16).map { $0 == 0 ? UInt8(0) : UInt8.random(in: 0...255) }
        let id = Data(bytes).base64EncodedString().prefix(22)
            .replacing("+", with: "-").replacing("/", with: "_")
        try Data(id.utf8).write(to: URL(fileURLWithPath: "\(folder)/cluster.id"))
    }

    /// After a failure what they held and logged is kept, where that is wanted.
    package func end(isClean: Bool = true) {
        // What stays behind is in the temporary folder.
        try? run("stop", [folder, "--kill"])
        if !isClean, let kept = Self.keepFolder {
            let place = "\(kept)/\(URL(fileURLWithPath: folder).lastPathComponent)"
            // Then it stays where it is.
            try? FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
            try? FileManager.default.moveItem(atPath: folder, toPath: place)
            return print("brokers: kept in \(place), or in \(folder)")
        }
        try? FileManager.default.removeItem(atPath: folder)
        try? FileManager.default.removeItem(atPath: "\(folder).log")
    }

    /// Those that do not run, with the data that they had.
    package func start() throws {
        try run("start", [folder, "\(port)", "\(count)"] + Self.settings)
    }

    package func kill(_ number: Int = 0) throws { try run("stop", [folder, "\(number)", "--kill"]) }

    /// In order: its partitions are led by others before it goes.
    package func stop(_ number: Int = 0) throws { try run("stop", [folder, "\(number)"]) }

    /// SIGSTOP or SIGCONT for the first: it neither answers nor closes its connections.
    package func signal(_ number: CInt) throws {
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
