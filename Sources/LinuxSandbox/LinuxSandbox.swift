import CSandbox
import Crypto
import Glibc
package import Pipeline
import Synchronization

/// Sandboxes of Linux's own parts, each built for one command and gone with it; see CSandbox for the walls.
///
/// One thread and one small process serve all runs. The process lives as long as this object.
package final class LinuxSandbox: ControllableSandbox {
    package struct Settings: Sendable {
        /// A program that CSandbox is linked into: `penstock-sandbox` beside this program, else this one,
        /// which is larger and therefore slower to fork.
        package var executable = Self.spawner
        /// The ordinary user that a worker started by root runs its sandboxes as. Nil: they run as the
        /// worker, where root means a user id of its own for each sandbox.
        package var user: UInt32?
        /// Go without Landlock and a time namespace where the kernel has none. Otherwise each run is refused
        /// then.
        package var isLenient = false
        /// Sandboxes made ahead of their requests, each used once; at most 64. They come with the first run.
        package var poolSize = 0
        /// Of sandboxes made ahead, how many more have a Python that waits in them; at most 64.
        package var pythonPoolSize = 0
        /// How long they wait without any run before they are given up.
        package var poolIdle: Duration = .seconds(60)
        /// How long a sandbox may take to be built. A spawner that answers nobody for so long is killed, with
        /// all that it made, and another is started.
        package var buildWithin: Duration = .seconds(20)
        /// Where the control groups of sandboxes are made; nil for none.
        package var cgroups = Self.ownGroups

        /// Finds the addresses of hosts that runs may reach; blocks.
        package var resolve: @Sendable (String) -> [NetworkAddress] = NameResolver.system
        /// Is told of each connection that a run made or tried, on the proxy's thread.
        package var audit: @Sendable (SandboxConnection) -> Void = SandboxProxy.log

        /// A file with authorities that the proxy trusts beside the system's, for TLS of its own.
        package var trustedCertificates: String?

        package init() {}

        /// For a single run: those made ahead would be for nobody.
        package var withNoneAhead: Self {
            var settings = self
            (settings.poolSize, settings.pythonPoolSize) = (0, 0)
            return settings
        }

        // Looked for once: on v2 that divides the group.
        private static let ownGroups = CgroupControl.find()

        private static let spawner: String = {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink("/proc/self/exe", &buffer, buffer.count)
            let own = String(
                decoding: buffer.prefix(max(0, count)).map(UInt8.init(bitPattern:)),
                as: UTF8.self
            )
            guard let slash = own.lastIndex(of: "/") else { return "/proc/self/exe" }
            let beside = own[...slash] + "penstock-sandbox"
            return access(String(beside), X_OK) == 0 ? String(beside) : "/proc/self/exe"
        }()
    }

    private let loop: SandboxLoop
    private let trustedCertificates: String?

    /// Starts the thread and the spawner; what is missing on this machine shows in the first run.
    package init(_ settings: Settings = Settings()) throws(SandboxError) {
        let filters = try SandboxFilters()
        let proxy = try Self.proxy(settings)
        let loop = try SandboxLoop()
        try SandboxThread.start {
            SandboxEngine(loop: loop, settings: settings, filters: filters, proxy: proxy).serve()
        }
        self.loop = loop
        trustedCertificates = settings.trustedCertificates
    }

    private static func proxy(_ settings: Settings) throws(SandboxError) -> SandboxProxy {
        do throws(TLSError) {
            let trust = try TLSContext(clientTrusting: settings.trustedCertificates)
            return SandboxProxy(resolve: settings.resolve, trust: trust, audit: settings.audit)
        } catch {
            throw SandboxError(.invalid, "trusted certificates: \(error.detail)")
        }
    }

    deinit {
        loop.put(.stop)
    }

    package func run(
        _ run: SandboxRun,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome {
        try await self.run(run, control: SandboxControl(), output: output)
    }

    package func run(
        _ run: SandboxRun,
        control: SandboxControl,
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome {
        try await self.run(run, standardInput: -1, control: control, output: output)
    }

    package func watch(
        _ folder: String,
        _ path: String,
        into changes: AsyncStream<SessionChange>.Continuation
    ) throws(SandboxError) -> @Sendable () -> Void {
        try FolderWatch.start(folder, path, into: changes)
    }

    /// As `run`, but the command reads `standardInput`, the reading end of a pipe, which this closes; -1 for
    /// the run's own input. Only a pipe: the command could open a file or terminal again, with other rights.
    package func run(
        _ run: SandboxRun,
        standardInput: Int32,
        control: SandboxControl = SandboxControl(),
        output: @escaping @Sendable (SandboxStream, [UInt8]) -> Void
    ) async throws(SandboxError) -> SandboxOutcome {
        defer { control.end() }
        let id = loop.nextID()
        let request: SandboxRequest
        let interception: TLSInterception?
        do throws(SandboxError) {
            request = try SandboxRequest(run, id: id)
            interception = try TLSInterception(run, trustedCertificates: trustedCertificates)
        } catch {
            if standardInput >= 0 { close(standardInput) }
            throw error
        }
        let cancellation = ActiveRun.Cancellation()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let active = ActiveRun(
                    id: id,
                    run: run,
                    request: request,
                    cancellation: cancellation,
                    output: output
                ) {
                    continuation.resume(returning: $0)
                }
                active.standardInput = standardInput
                active.interception = interception
                loop.put(.start(active))
                control.attach { [loop] message in
                    switch message {
                    case .signal(let number): loop.put(.signal(id, number))
                    case .dial(let dial): loop.put(.dial(id, dial))
                    }
                }
            }
        } onCancel: {
            cancellation.isAsked.store(true, ordering: .releasing)
            loop.put(.cancel(id))
        }
        return try result.get()
    }
}
