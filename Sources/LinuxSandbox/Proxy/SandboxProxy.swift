import CLinux
import Crypto
import Glibc
import Network
package import Pipeline
import Synchronization
import Telemetry

/// One connection that a command in a sandbox made or tried, for whoever audits them.
package struct SandboxConnection: Sendable, Hashable {
    /// Whose run it was.
    package let label: String
    package var host = ""
    package var port: UInt16 = 0
    /// Where it led; nil when it was refused before.
    package var address: NetworkAddress?
    package var isAllowed = false
    /// The proxy read it, to write secrets into it.
    package var isIntercepted = false
    /// Why it was refused, or ended other than by its two sides.
    package var reason: String?
    /// Of a request that the proxy could read.
    package var status: Int?
    package var sentBytes = 0
    package var receivedBytes = 0
    package var duration: Duration = .zero

    init(label: String) {
        self.label = label
    }
}

/// The proxy that sandboxes reach hosts through: outside of all of them, on a loop of its own. Each run has a
/// door, the listener on its own loopback.
final class SandboxProxy: Sendable {
    // A loop lives as long as the process, so all sandboxes share one.
    private static let loop = EventLoop(name: "sandbox-proxy")

    private let resolver: NameResolver
    private let trust: TLSContext
    private let audit: @Sendable (SandboxConnection) -> Void

    /// `trust`: of the TLS to hosts that is the proxy's own.
    init(
        resolve: @escaping NameResolver.Look,
        trust: TLSContext,
        audit: @escaping @Sendable (SandboxConnection) -> Void
    ) {
        resolver = NameResolver(resolve)
        self.trust = trust
        self.audit = audit
    }

    /// Serves the listener, which it closes in the end. `authority`: the run's own, if it has
    /// one.
    func open(_ listener: CInt, for hosts: SandboxHosts, authority: CertificateAuthority?) -> ProxyDoor {
        let door = ProxyDoor(
            listener,
            hosts: hosts,
            resolver: resolver,
            tls: (authority, trust),
            loop: Self.loop,
            audit: audit
        )
        Self.loop.execute { door.start() }
        return door
    }

    private static let allowed = counter("allowed")
    private static let refused = counter("refused")

    private static func counter(_ verdict: String) -> Counter {
        Counter(
            "penstock_sandbox_connections_total",
            help: "Connections that skills made or tried, by verdict.",
            labels: ["verdict": verdict]
        )
    }

    /// A line of the log and a count for each connection.
    static let log: @Sendable (SandboxConnection) -> Void = { connection in
        (connection.isAllowed ? allowed : refused).increment()
        var metadata = [
            "skill": connection.label, "host": connection.host, "port": "\(connection.port)",
            "verdict": connection.isAllowed ? "allowed" : "refused",
            "sent_bytes": "\(connection.sentBytes)", "received_bytes": "\(connection.receivedBytes)",
            "milliseconds": "\(connection.duration.milliseconds)",
        ]
        metadata["address"] = connection.address?.description
        if connection.isIntercepted { metadata["tls"] = "intercepted" }
        metadata[LogKeys.status] = connection.status.map { "\($0)" }
        metadata[LogKeys.reason] = connection.reason
        logger.info("Connection of a skill", metadata: metadata)
    }

    private static let logger = Logger(label: "sandbox.proxy")
}

/// A run's way to the proxy. Touched on the loop's thread only, but for `close`.
final class ProxyDoor: DoorOwner, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread; `close` goes there.
    let hosts: SandboxHosts
    let resolver: NameResolver
    let tls: (authority: CertificateAuthority?, trust: TLSContext)
    var sentBytes = 0
    var receivedBytes = 0
    var policy: ProxyPolicy { ProxyPolicy(hosts: hosts) }

    private let loop: EventLoop
    private let audit: @Sendable (SandboxConnection) -> Void
    private var listener: DoorListener?
    private var connections: [ObjectIdentifier: ProxyConnection] = [:]

    init(
        _ listener: CInt,
        hosts: SandboxHosts,
        resolver: NameResolver,
        tls: (authority: CertificateAuthority?, trust: TLSContext),
        loop: EventLoop,
        audit: @escaping @Sendable (SandboxConnection) -> Void
    ) {
        self.hosts = hosts
        self.resolver = resolver
        self.tls = tls
        self.loop = loop
        self.audit = audit
        self.listener = DoorListener(listener, loop: loop, owner: self)
    }

    func start() { listener?.start() }

    var hasRoom: Bool { connections.count < hosts.connectionsMax }

    func take(_ descriptor: CInt, from listener: DoorListener) {
        let connection = ProxyConnection(descriptor, door: self, loop: loop)
        connections[ObjectIdentifier(connection)] = connection
        connection.start()
    }

    func closed(_ connection: ProxyConnection, _ record: SandboxConnection) {
        connections[ObjectIdentifier(connection)] = nil
        // One that asked for nothing is nothing to tell of.
        if !record.host.isEmpty || record.reason != nil { audit(record) }
        listener?.resume()
    }

    /// Ends the listener and what goes through it. May be called on any thread; `then` is called when all is
    /// told to the audit.
    func close(then: @escaping @Sendable () -> Void) {
        loop.execute { [self] in
            listener?.close()
            for connection in Array(connections.values) { connection.abandon() }
            then()
        }
    }
}
