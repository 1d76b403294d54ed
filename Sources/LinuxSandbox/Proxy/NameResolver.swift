import Glibc
import Pipeline
import Synchronization

/// Finds the addresses of names on threads of its own: the system's resolver blocks.
final class NameResolver: Sendable {
    typealias Look = @Sendable (String) -> [NetworkAddress]

    private struct State {
        var waiting: [(name: String, found: @Sendable ([NetworkAddress]) -> Void)] = []
        var threads = 0
    }

    private static let threadsMax = 8
    private let look: Look
    private let state = Mutex(State())

    init(_ look: @escaping Look) {
        self.look = look
    }

    /// `found` is called on another thread; with nothing when the name has no address, or none can be asked
    /// for.
    func resolve(_ name: String, found: @escaping @Sendable ([NetworkAddress]) -> Void) {
        let needsThread = state.withLock { state in
            state.waiting.append((name, found))
            guard state.threads < Self.threadsMax else { return false }
            state.threads += 1
            return true
        }
        guard needsThread else { return }
        do {
            try SandboxThread.start { [self] in work() }
        } catch {
            state.withLock { $0.threads -= 1 }
            // Another thread may take it; without any, nobody can be asked.
            let abandoned = state.withLock { state in
                defer { if state.threads == 0 { state.waiting = [] } }
                return state.threads == 0 ? state.waiting : []
            }
            for item in abandoned { item.found([]) }
        }
    }

    private func work() {
        while true {
            let item = state.withLock { state -> (String, @Sendable ([NetworkAddress]) -> Void)? in
                guard !state.waiting.isEmpty else {
                    state.threads -= 1
                    return nil
                }
                return state.waiting.removeFirst()
            }
            guard let (name, found) = item else { return }
            found(look(name))
        }
    }

    /// As the system resolves for programs on the host.
    static let system: Look = { name in
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &found) == 0 else { return [] }
        defer { freeaddrinfo(found) }
        var addresses: [NetworkAddress] = []
        var next = found
        while let info = next?.pointee {
            defer { next = info.ai_next }
            guard let raw = info.ai_addr else { continue }
            let bytes = UnsafeRawBufferPointer(start: raw, count: Int(info.ai_addrlen))
            // The address lies behind the family and port (IPv4), or behind these and the flow (IPv6).
            let range = info.ai_family == AF_INET ? 4..<8 : 8..<24
            guard info.ai_family == AF_INET || info.ai_family == AF_INET6, bytes.count >= range.upperBound
            else {
                continue
            }
            let address = NetworkAddress(Array(bytes[range]))
            if !addresses.contains(address) { addresses.append(address) }
        }
        return addresses
    }
}
