import CLinux
import Glibc

package struct SocketError: Error {
    package let detail: String

    init(_ call: String, _ address: String) {
        detail = "\(call) \(address): \(String(cString: strerror(errno)))"
    }

    init(detail: String) {
        self.detail = detail
    }
}

/// TCP sockets, non-blocking and closed on exec.
package enum Socket {
    /// `port`: 0 for any free one; the returned port is the real one.
    package static func listen(host: String, port: UInt16) throws(SocketError) -> (
        descriptor: CInt, port: UInt16
    ) {
        let name = "\(host):\(port)"
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, "\(port)", &hints, &found)
        guard status == 0, let address = found else {
            throw SocketError(detail: "\(name): \(String(cString: gai_strerror(status)))")
        }
        defer { freeaddrinfo(found) }
        let flags = CInt(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.pointee.ai_family, flags, 0)
        guard descriptor >= 0 else { throw SocketError("socket", name) }
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        set(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, 1)
        guard bind(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0,
            Glibc.listen(descriptor, 4_096) == 0
        else {
            let failure = SocketError("listen on", name)
            close(descriptor)
            throw failure
        }
        return (descriptor, localPort(descriptor))
    }

    /// The next waiting connection, and who it is from; nil when there is none, or no descriptor for it
    /// (`errno`).
    package static func accept(_ listener: CInt) -> (descriptor: CInt, peer: String)? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let descriptor = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                accept4(listener, address, &length, CInt(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
            }
        }
        guard descriptor >= 0 else { return nil }
        return (descriptor, name(of: &storage, length))
    }

    private static func name(of storage: inout sockaddr_storage, _ length: socklen_t) -> String {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getnameinfo(address, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST)
            }
        }
        return status == 0
            ? String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : "?"
    }

    private static func localPort(_ descriptor: CInt) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length)
            }
            // The port is at the same place in IPv4's and IPv6's addresses.
            return pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                UInt16(bigEndian: $0.pointee.sin_port)
            }
        }
    }

    private static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt, _ value: CInt) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
    }
}
