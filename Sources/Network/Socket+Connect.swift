import CLinux
import Glibc

extension Socket {
    /// Begins to connect to an address of 4 or 16 bytes; writable when it has, or has failed (`failure`).
    package static func connect(to address: [UInt8], port: UInt16) throws(SocketError) -> CInt {
        precondition(address.count == 4 || address.count == 16, "\(address.count) bytes are no address")
        let isIPv4 = address.count == 4
        let name = "port \(port)"
        let flags = CInt(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(isIPv4 ? AF_INET : AF_INET6, flags, 0)
        guard descriptor >= 0 else { throw SocketError("socket", name) }
        sendAtOnce(descriptor)
        var storage = [UInt8](repeating: 0, count: isIPv4 ? 16 : 28)
        storage.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: sa_family_t(isIPv4 ? AF_INET : AF_INET6), as: sa_family_t.self)
            bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
            UnsafeMutableRawBufferPointer(rebasing: bytes[(isIPv4 ? 4 : 8)...]).copyBytes(from: address)
        }
        let result = storage.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) {
                Glibc.connect(descriptor, $0.baseAddress, socklen_t(bytes.count))
            }
        }
        guard result == 0 || errno == EINPROGRESS else {
            let failure = SocketError("connect to", name)
            close(descriptor)
            throw failure
        }
        return descriptor
    }

    /// What went wrong on the socket since it was last asked; nil when nothing.
    package static func failure(_ descriptor: CInt) -> String? {
        var code: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0, code != 0 else { return nil }
        return String(cString: strerror(code))
    }

    /// Small pieces do not wait for larger ones.
    package static func sendAtOnce(_ descriptor: CInt) {
        var one: CInt = 1
        setsockopt(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<CInt>.size))
    }

    /// Makes the next `close` an error to the other side, not the end of what was sent.
    package static func abortOnClose(_ descriptor: CInt) {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    }
}
