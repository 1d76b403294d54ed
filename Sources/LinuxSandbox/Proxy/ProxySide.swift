import Glibc
import Network

/// One of the two sockets of a proxied connection, with what waits to be written to it. Touched on the loop's
/// thread only.
final class ProxySide: EventLoopHandler, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread.
    enum Piece {
        case bytes([UInt8])
        case nothing
        case end
        case failed
    }

    /// While more than this waits to be written, nothing is read for it.
    static let pendingBytesMax = 64 * 1_024
    private static let pieceBytes = 32 * 1_024

    let descriptor: CInt
    private let loop: EventLoop
    /// Holds the connection as long as the socket is watched.
    private var connection: ProxyConnection?
    private var outgoing: [UInt8] = []
    private var sent = 0
    private var interest: Readiness?
    /// The other side sends no more.
    private(set) var hasEnded = false
    private var isShut = false

    init(_ descriptor: CInt, loop: EventLoop, connection: ProxyConnection) {
        self.descriptor = descriptor
        self.loop = loop
        self.connection = connection
    }

    var pending: Int { outgoing.count - sent }

    var hasRoom: Bool { pending < Self.pendingBytesMax }

    func ready(_ readiness: Readiness) { connection?.advance() }

    func sweep(_ now: ContinuousClock.Instant) { connection?.sweep(now, self) }

    func read() -> Piece {
        guard !hasEnded else { return .nothing }
        var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
        let count = Glibc.read(descriptor, &piece, piece.count)
        if count > 0 { return .bytes(Array(piece[..<count])) }
        if count == 0 {
            hasEnded = true
            return .end
        }
        return errno == EAGAIN || errno == EINTR ? .nothing : .failed
    }

    func queue(_ bytes: some Sequence<UInt8>) {
        if sent > 0, sent == outgoing.count {
            outgoing.removeAll(keepingCapacity: true)
            sent = 0
        }
        outgoing.append(contentsOf: bytes)
    }

    /// Writes what the socket takes; false when it takes nothing ever again.
    func flush() -> Bool {
        while pending > 0 {
            let count = outgoing[sent...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            if count < 0 { return errno == EAGAIN }
            sent += count
        }
        return true
    }

    /// Tells the other side that no more comes; once.
    func endWriting() {
        guard !isShut else { return }
        isShut = true
        shutdown(descriptor, CInt(SHUT_WR))
    }

    /// Watches for what is wanted; false when the kernel refuses.
    func watch(input: Bool, output: Bool) -> Bool {
        var wanted: Readiness = []
        if input { wanted.insert(.readable) }
        if output { wanted.insert(.writable) }
        guard wanted != interest else { return true }
        // Without any wish the kernel would still tell of a hang-up, again and again.
        if wanted.isEmpty {
            if interest != nil { loop.pause(descriptor) }
        } else if interest == nil || interest == [] {
            guard loop.add(descriptor, wanted, self) else { return false }
        } else {
            loop.change(descriptor, wanted)
        }
        if interest == nil, wanted.isEmpty {
            // Never watched, but swept for time-outs all the same.
            guard loop.add(descriptor, [], self) else { return false }
            loop.pause(descriptor)
        }
        interest = wanted
        return true
    }

    func close(aborting: Bool) {
        guard connection != nil else { return }
        connection = nil
        if interest != nil { loop.remove(descriptor) }
        if aborting { Socket.abortOnClose(descriptor) }
        Glibc.close(descriptor)
    }
}
