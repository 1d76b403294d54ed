import CLinux
import Glibc
import Pipeline

/// A member's sign of life: a file that it holds locked. The kernel lets go of the lock when the process
/// dies, so the others see a death at once and never mistake a living process for a dead one.
final class Session: Sendable {
    let name: String
    private let file: CInt
    private let path: String

    init(folder: String) throws(EventLogError) {
        var bytes = [UInt8](repeating: 0, count: 12)
        _ = getrandom(&bytes, bytes.count, 0)
        name = bytes.map { String($0, radix: 16) }.joined()
        path = "\(folder)/\(name)"
        file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0, flock(file, LOCK_EX | LOCK_NB) == 0 else {
            throw EventLogError(.denied, "\(path): \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        unlink(path)
        Glibc.close(file)
    }

    /// Whether the process that holds the session is gone. Its file is removed then.
    static func isDead(_ name: String, folder: String) -> Bool {
        let path = "\(folder)/\(name)"
        let file = open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else { return errno == ENOENT }
        defer { Glibc.close(file) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else { return false }
        unlink(path)
        return true
    }
}
