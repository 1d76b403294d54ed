import CLinux
import Glibc
package import Pipeline

/// A thread for what blocks, outside Swift's pool.
package enum SandboxThread {
    /// Runs `body` on a thread of its own, with every signal blocked: handlers belong to other threads.
    package static func start(_ body: @escaping @Sendable () -> Void) throws(SandboxError) {
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
