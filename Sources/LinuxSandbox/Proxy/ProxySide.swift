import Crypto
import Glibc
import Network

/// Whose two sides they are.
protocol ProxySideOwner: AnyObject {
    /// Does what can be done now.
    func advance()
    /// Twice a second for each side, for time-outs.
    func sweep(_ now: ContinuousClock.Instant, _ side: ProxySide)
}

/// One of the two sockets of a proxied connection, with what waits to be written to it; with TLS in between
/// where the proxy is an end of it. Touched on the loop's thread only.
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
    private var connection: (any ProxySideOwner)?
    private var outgoing: [UInt8] = []
    private var sent = 0
    private var interest: Readiness?
    /// The other side sends no more.
    private(set) var hasEnded = false
    /// The other side was told that no more comes.
    private(set) var isShut = false
    private var tls: TLSEngine?
    /// It ended without saying so, which only TLS can tell.
    private(set) var isCut = false
    /// Why TLS failed.
    private(set) var failure: String?
    private var hasSaidEnd = false

    init(_ descriptor: CInt, loop: EventLoop, connection: any ProxySideOwner) {
        self.descriptor = descriptor
        self.loop = loop
        self.connection = connection
    }

    var pending: Int { outgoing.count - sent }

    var hasRoom: Bool { pending < Self.pendingBytesMax }

    func ready(_ readiness: Readiness) { connection?.advance() }

    func sweep(_ now: ContinuousClock.Instant) { connection?.sweep(now, self) }

    /// TLS from here on; `early` are the first bytes of the other side, that were read already.
    func secure(_ engine: TLSEngine, early: [UInt8] = []) -> Piece {
        tls = engine
        return opened(early)
    }

    /// Bytes may be queued.
    var isSecured: Bool { tls?.isEstablished == true }

    func read() -> Piece {
        guard failure == nil else { return .failed }
        guard !hasEnded else { return .nothing }
        var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
        let count = Glibc.read(descriptor, &piece, piece.count)
        if count > 0 { return opened(Array(piece[..<count])) }
        if count == 0 {
            hasEnded = true
            isCut = tls != nil
            return .end
        }
        return errno == EAGAIN || errno == EINTR ? .nothing : .failed
    }

    private func opened(_ bytes: [UInt8]) -> Piece {
        guard let tls else { return .bytes(bytes) }
        defer { append(tls.takeOutgoing()) }
        do throws(TLSError) {
            let plain = try tls.receive(bytes)
            hasEnded = tls.hasEnded
            return plain.isEmpty ? hasEnded ? .end : .nothing : .bytes(plain)
        } catch {
            failure = error.detail
            return .failed
        }
    }

    func queue(_ bytes: [UInt8]) {
        guard let tls else { return append(bytes) }
        guard failure == nil, !hasSaidEnd else { return }
        do throws(TLSError) {
            try tls.send(bytes)
        } catch {
            failure = error.detail
        }
        append(tls.takeOutgoing())
    }

    private func append(_ bytes: [UInt8]) {
        // All that a slow reader ever got would pile up if only an empty queue were cut.
        if sent == outgoing.count || sent >= Self.pendingBytesMax {
            outgoing.removeFirst(sent)
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

    /// Says within TLS that no more comes, so that the end is no cut; nothing without TLS.
    func sayEnd() {
        guard let tls, failure == nil, !hasSaidEnd else { return }
        hasSaidEnd = true
        tls.end()
        append(tls.takeOutgoing())
    }

    /// Tells the other side that no more comes; once.
    func endWriting() {
        guard !isShut else { return }
        sayEnd()
        guard flush(), pending == 0 else { return }
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
