import CLinux
import CSandbox
import Glibc
import Pipeline

/// Connections on their way to ports of runs; touched by the engine's thread only.
///
/// A dial goes: waiting (for the command's start, or for the next attempt) → asking (the spawner for a socket
/// in the run's network) → connecting → answered. One socket serves all attempts of a dial.
final class PortDials {
    private struct Dial {
        let run: UInt64
        let dial: PortDial
        let due: UInt64
        var socket: Int32 = -1
    }

    /// Between attempts.
    private static let pauseNanoseconds: UInt64 = 20_000_000

    private let poller: Int32
    private var dials: [UInt64: Dial] = [:]

    init(poller: Int32) {
        self.poller = poller
    }

    /// When to try first.
    func begin(_ id: UInt64, run: UInt64, _ dial: PortDial) -> UInt64 {
        let now = MonotonicTime.now()
        let patience = UInt64(max(0, min(dial.patience, .seconds(1_000_000)) / .nanoseconds(1)))
        dials[id] = Dial(run: run, dial: dial, due: now + patience)
        return now
    }

    func run(of id: UInt64) -> UInt64? { dials[id]?.run }

    /// The time has come to try again, or to give up; when to come back.
    func advance(_ id: UInt64, hasStarted: Bool, control: Int32) -> UInt64? {
        guard let dial = dials[id] else { return nil }
        if MonotonicTime.now() >= dial.due {
            let error = SandboxError(
                .invalid,
                "nothing listens on port \(dial.dial.port) of the process: see its log, or wait longer"
            )
            answer(id, .failure(error))
            return nil
        }
        guard hasStarted else { return later(dial) }
        if dial.socket >= 0 { return attempt(id, dial) }
        var asked = sandbox_socket()
        asked.message = SANDBOX_SOCKET.rawValue
        (asked.id, asked.run) = (id, dial.run)
        let size = MemoryLayout<sandbox_socket>.size
        // One that the spawner's queue has no room for is asked again; so is one whose answer is late.
        let sent = withUnsafeBytes(of: &asked) { sandbox_send(control, $0.baseAddress, size, nil, 0) }
        return sent == size ? dial.due : later(dial)
    }

    /// The spawner's answer; false when it is for no dial.
    func take(_ id: UInt64, _ socket: Int32, errno code: Int32) -> Bool {
        guard var dial = dials[id], dial.socket < 0 else { return false }
        guard socket >= 0 else {
            let words = "no socket for port \(dial.dial.port): \(String(cString: strerror(code)))"
            answer(id, .failure(SandboxError(.busy, "\(words): fewer connections at a time")))
            return true
        }
        dial.socket = socket
        dials[id] = dial
        return true
    }

    /// The socket is connected, or has failed; when to come back.
    func ready(_ id: UInt64) -> UInt64? {
        guard let dial = dials[id], dial.socket >= 0 else { return nil }
        epoll_ctl(poller, EPOLL_CTL_DEL, dial.socket, nil)
        guard isConnected(dial) else { return later(dial) }
        finish(id, dial)
        return nil
    }

    /// The run is over.
    func end(run: UInt64) {
        for (id, dial) in dials where dial.run == run {
            // The command may have taken it, answered and ended before we looked; then this hands it over.
            _ = ready(id)
            answer(id, .failure(SandboxError(.invalid, "the process has ended: nothing listens there")))
        }
    }

    private func attempt(_ id: UInt64, _ dial: Dial) -> UInt64? {
        // Of the attempt before, whatever became of it.
        var none = sockaddr()
        none.sa_family = sa_family_t(AF_UNSPEC)
        _ = connect(dial.socket, &none, socklen_t(MemoryLayout<sockaddr>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = dial.dial.port.bigEndian
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(dial.socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result == 0, !isConnectedToItself(dial) {
            finish(id, dial)
            return nil
        }
        guard result < 0, errno == EINPROGRESS else { return later(dial) }
        var event = epoll_event(
            events: EPOLLOUT.rawValue,
            data: epoll_data_t(u64: id << 3 | ActiveRun.Channel.dial.rawValue)
        )
        epoll_ctl(poller, EPOLL_CTL_ADD, dial.socket, &event)
        return dial.due
    }

    private func isConnected(_ dial: Dial) -> Bool {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let hasPeer = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(dial.socket, $0, &length) }
        }
        return hasPeer == 0 && !isConnectedToItself(dial)
    }

    /// Where nothing listens, the kernel may give us the very port as our own, and connect us to ourselves.
    private func isConnectedToItself(_ dial: Dial) -> Bool {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(dial.socket, $0, &length) }
        }
        return address.sin_port == dial.dial.port.bigEndian
    }

    private func later(_ dial: Dial) -> UInt64 {
        min(dial.due, MonotonicTime.now() + Self.pauseNanoseconds)
    }

    private func finish(_ id: UInt64, _ dial: Dial) {
        dials[id] = nil
        dial.dial.answer(.success(PortConnection(taking: dial.socket)))
    }

    private func answer(_ id: UInt64, _ result: Result<PortConnection, SandboxError>) {
        guard let dial = dials.removeValue(forKey: id) else { return }
        if dial.socket >= 0 { close(dial.socket) }
        dial.dial.answer(result)
    }
}
