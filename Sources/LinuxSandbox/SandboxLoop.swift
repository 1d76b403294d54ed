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

    /// Runs `body` on a thread of its own, with every signal blocked: handlers belong to other threads.
    static func onThread(_ body: @escaping @Sendable () -> Void) throws(SandboxError) {
        final class Body: Sendable {
            let run: @Sendable () -> Void
            init(_ run: @escaping @Sendable () -> Void) { self.run = run }
        }
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Body(body))
        let error = pthread_create(
            &thread,
            nil,
            { argument in
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_BLOCK, &all, nil)
                pthread_setname_np(pthread_self(), "sandboxes")
                argument.map { Unmanaged<Body>.fromOpaque($0).takeRetainedValue().run() }
                return nil
            },
            argument.toOpaque()
        )
        guard error == 0 else {
            argument.release()
            throw SandboxError(.busy, "no thread for the sandboxes: \(String(cString: strerror(error)))")
        }
        pthread_detach(thread)
    }
}
