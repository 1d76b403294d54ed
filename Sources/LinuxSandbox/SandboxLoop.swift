import CLinux
import Glibc
import Pipeline
import Synchronization

/// The way to the one thread that starts, feeds, reads and ends every run; the thread's own state is
/// `SandboxEngine`.
final class SandboxLoop: Sendable {
    enum Command: Sendable {
        case start(ActiveRun)
        case cancel(UInt64)
        case signal(UInt64, Int32)
        case dial(UInt64, PortDial)
        case stop
    }

    private let inbox = Mutex<[Command]>([])
    private let ids = Atomic<UInt64>(0)
    let wake: Int32

    init() throws(SandboxError) {
        wake = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard wake >= 0 else {
            throw SandboxError(
                .busy,
                "no descriptor to wake the sandbox's thread: \(String(cString: strerror(errno)))"
            )
        }
    }

    deinit {
        close(wake)
    }

    func nextID() -> UInt64 { ids.add(1, ordering: .relaxed).newValue }

    /// The order of commands is kept. `wake` is written only when the inbox was empty: one wake-up for many.
    func put(_ command: Command) {
        let wasEmpty = inbox.withLock { inbox in
            inbox.append(command)
            return inbox.count == 1
        }
        if wasEmpty { eventfd_write(wake, 1) }
    }

    func drain() -> [Command] {
        var count: eventfd_t = 0
        eventfd_read(wake, &count)
        return inbox.withLock { inbox in
            let taken = inbox
            inbox = []
            return taken
        }
    }
}
