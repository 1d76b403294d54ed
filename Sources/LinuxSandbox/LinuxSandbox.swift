import CSandbox
import Glibc
package import Pipeline
import Synchronization

/// Sandboxes of Linux's own parts, each built for one command and gone with it; see CSandbox for the walls.
///
/// One thread and one small process serve all runs. The process lives as long as this object.
package final class LinuxSandbox: SkillSandbox {
    private let loop: SandboxLoop

    /// Starts the spawner; `executable` is a program that CSandbox is linked into, by default this one. `user` is
    /// the ordinary user that a worker started by root runs its sandboxes as; by default they run as the worker,
    /// where root means a user id of its own for each sandbox.
    package init(executable: String = "/proc/self/exe", user: UInt32? = nil) throws(SandboxError) {
        let filter = try SystemCallFilter().program
        let loop = try SandboxLoop()
        try SandboxLoop.onThread {
            SandboxEngine(loop: loop, executable: executable, user: user, filter: filter).serve()
        }
        self.loop = loop
    }

    deinit {
        loop.put(.stop)
    }

    package func run(
        _ run: SandboxRun,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome {
        let id = loop.nextID()
        let request = try SandboxRequest(run, id: id)
        let cancellation = ActiveRun.Cancellation()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let active = ActiveRun(
                    id: id,
                    run: run,
                    packet: request.packet,
                    cancellation: cancellation,
                    output: output
                ) {
                    continuation.resume(returning: $0)
                }
                loop.put(.start(active))
            }
        } onCancel: {
            cancellation.isAsked.store(true, ordering: .releasing)
            loop.put(.cancel(id))
        }
        return try result.get()
    }
}
