import Foundation

/// A `penstock` process of a role; killed when it is dropped.
final class ChaosProcess: @unchecked Sendable {
    let pid: pid_t
    /// What it wrote to its standard error.
    private let errorsPath: String
    private let lock = NSLock()
    private var status: CInt?

    /// Beside the test bundle, where `swift build` puts it.
    static let executable: String = {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let own = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("penstock").path
    }()

    init(_ command: [String], environment: [String: String], errorsPath: String) throws {
        self.errorsPath = errorsPath
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, errorsPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        var argv = command.map { strdup($0) } + [nil]
        var envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, command[0], &actions, nil, &argv, &envp)
        guard failure == 0 else {
            throw ChaosFailure("\(command[0]): \(String(cString: strerror(failure)))")
        }
        self.pid = pid
    }

    deinit {
        if status == nil {
            Glibc.kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
    }

    var errors: String {
        // Without the file it has said nothing.
        (try? String(contentsOfFile: errorsPath, encoding: .utf8)) ?? ""
    }

    var hasEnded: Bool { poll() != nil }

    func signal(_ number: CInt) {
        lock.withLock { if status == nil { Glibc.kill(pid, number) } }
    }

    /// How it ended, as `wait(2)` says: 0 for a clean exit, 9 for SIGKILL; nil when it has not.
    func waitForEnd(seconds: Double) -> CInt? {
        ChaosWait.until(seconds: seconds) { self.poll() }
    }

    /// Whether it was stopped by SIGSTOP.
    func waitForStop(seconds: Double) -> Bool {
        let state = ChaosWait.until(seconds: seconds) { () -> CInt? in
            if let status = self.lock.withLock({ self.status }) { return status }
            var status: CInt = 0
            let found = waitpid(self.pid, &status, WNOHANG | WUNTRACED)
            guard found == self.pid else { return nil }
            if status & 0xFF != 0x7F { self.lock.withLock { self.status = status } }
            return status
        }
        return state.map { $0 & 0xFF == 0x7F } ?? false
    }

    /// Ends it and returns how it ended; SIGKILL after a minute of patience.
    @discardableResult
    func end(_ number: CInt) -> CInt {
        signal(number)
        if let status = waitForEnd(seconds: 60) { return status }
        signal(SIGKILL)
        return waitForEnd(seconds: 60) ?? -1
    }

    private func poll() -> CInt? {
        lock.withLock {
            if let status { return status }
            var status: CInt = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
            self.status = status
            return status
        }
    }
}

struct ChaosFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

enum ChaosWait {
    /// Asks every few milliseconds; for threads that may block.
    static func until<Value>(seconds: Double, _ ask: () -> Value?) -> Value? {
        let end = ContinuousClock.now + .seconds(seconds)
        while true {
            if let value = ask() { return value }
            guard ContinuousClock.now < end else { return nil }
            usleep(3_000)
        }
    }

    /// Runs what blocks on a thread of its own, so that the tests' few threads stay free.
    static func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
        }
    }
}
