import Foundation

/// A `penstock run` of its own process; killed when it is dropped.
final class PenstockProcess: @unchecked Sendable {
    let pid: pid_t
    private let output: CInt
    private let folder: String
    private let lock = NSLock()
    private var status: CInt?
    private var chosenPort: UInt16?

    /// Beside the test bundle, where `swift build` puts it.
    static let executable: String = {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let own = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("penstock").path
    }()

    /// `role`: the subcommand.
    init(_ role: String = "run", folder: String, environment: [String: String]) throws {
        self.folder = folder
        var ends: [CInt] = [0, 0]
        guard pipe(&ends) == 0 else { throw HarnessError("no pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        output = ends[0]
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        let errors = "\(folder)/errors.txt"
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        let words = [Self.executable, role, "--config", "\(folder)/penstock.yaml", "--log-level", "warning"]
        var argv = words.map { strdup($0) } + [nil]
        var envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, Self.executable, &actions, nil, &argv, &envp)
        guard failure == 0 else {
            throw HarnessError("\(Self.executable): \(String(cString: strerror(failure)))")
        }
        self.pid = pid
    }

    deinit {
        if status == nil {
            Glibc.kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
        close(output)
    }

    var errors: String {
        (try? String(contentsOfFile: "\(folder)/errors.txt", encoding: .utf8)) ?? ""
    }

    var port: UInt16 { lock.withLock { chosenPort ?? 0 } }

    /// Reads the address that it prints, then asks until it is ready.
    func waitUntilReady() throws {
        var text = ""
        var piece = [UInt8](repeating: 0, count: 4_096)
        while chosenPort == nil {
            let count = read(output, &piece, piece.count)
            guard count > 0 else {
                throw HarnessError("it ended before it was ready: \(errors.suffix(2_000))")
            }
            text += String(decoding: piece[..<count], as: UTF8.self)
            guard let range = text.range(of: "http://127.0.0.1:"), text[range.upperBound...].contains("/")
            else {
                continue
            }
            lock.withLock { chosenPort = UInt16(text[range.upperBound...].prefix { $0.isNumber }) }
        }
        for _ in 0..<2_000 {
            if let answer = try? Wire.send(port, "GET", "/health/ready"), answer.status == 200 { return }
            usleep(10_000)
        }
        throw HarnessError("not ready after 20 s: \(errors.suffix(2_000))")
    }

    /// Asks until it says so; false when it never does.
    func waitForReadiness(_ status: Int) throws -> Bool {
        for _ in 0..<500 {
            if try Wire.send(port, "GET", "/health/ready").status == status { return true }
            usleep(20_000)
        }
        return false
    }

    /// Asks for metrics until one reads as wanted; false when it never does.
    func waitForMetric(_ line: String) throws -> Bool {
        for _ in 0..<500 {
            if try Wire.send(port, "GET", "/metrics").text.contains(line) { return true }
            usleep(5_000)
        }
        return false
    }

    /// Ends it and returns how it ended, as `wait(2)` says: 0 for a clean exit, 9 for SIGKILL.
    @discardableResult
    func end(_ signal: CInt) -> CInt {
        lock.withLock {
            if let status { return status }
            Glibc.kill(pid, signal)
            var status: CInt = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
            self.status = status
            return status
        }
    }

    func stop() async throws -> CInt { try await blocking { self.end(SIGTERM) } }
}
