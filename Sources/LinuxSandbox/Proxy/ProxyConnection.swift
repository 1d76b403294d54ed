import Glibc
import Network
import Pipeline

/// One connection out of a sandbox: reads what is asked, decides, resolves, connects, and passes bytes.
/// Touched on the loop's thread only.
final class ProxyConnection: @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread.
    private enum State {
        case head
        case resolving
        case connecting([NetworkAddress])
        /// A tunnel is open; its first bytes must name the host.
        case hello
        case relaying
        /// The refusal is on its way.
        case refusing
        case closed
    }

    private static let startTimeout: Duration = .seconds(15)
    private static let idleTimeout: Duration = .seconds(120)

    private let loop: EventLoop
    private let door: ProxyDoor
    private var client: ProxySide?
    private var upstream: ProxySide?
    private var state = State.head
    /// What came before it could be passed on.
    private var early: [UInt8] = []
    private var head: ProxyHead?
    private var name = ""
    private var framing: BodyFraming?
    private var record: SandboxConnection
    private let began = ContinuousClock.now
    private var progressAt = ContinuousClock.now

    init(_ descriptor: CInt, door: ProxyDoor, loop: EventLoop) {
        self.door = door
        self.loop = loop
        record = SandboxConnection(label: door.hosts.label)
        client = ProxySide(descriptor, loop: loop, connection: self)
        Socket.sendAtOnce(descriptor)
    }

    func start() { advance() }

    /// Does what can be done now, and asks to be woken for the rest.
    func advance() {
        switch state {
        case .head: readHead()
        case .hello: readHello()
        case .connecting(let rest): finishConnecting(rest)
        case .relaying: relay()
        case .refusing: if client?.pending == 0 { discard() }
        case .resolving, .closed: break
        }
        watch()
    }

    func sweep(_ now: ContinuousClock.Instant, _ side: ProxySide) {
        guard side === client else { return }
        switch state {
        case .relaying where now - progressAt > Self.idleTimeout: fail("nothing came for 120 s")
        case .head, .resolving, .connecting, .hello, .refusing:
            if now - progressAt > Self.startTimeout { fail("not begun within 15 s") }
        default: break
        }
    }

    /// The run is over.
    func abandon() { fail("the run ended") }

    private func watch() {
        guard let client else { return }
        let isFlushed = client.flush() && upstream?.flush() != false
        if case .refusing = state, client.pending == 0 { client.endWriting() }
        var readsClient = false
        var readsUpstream = false
        var awaitsUpstream = (upstream?.pending ?? 0) > 0
        switch state {
        case .head, .hello, .refusing: readsClient = !client.hasEnded
        case .connecting: awaitsUpstream = true
        case .relaying:
            readsClient = !client.hasEnded && upstream?.hasRoom == true
            readsUpstream = upstream?.hasEnded == false && client.hasRoom
        case .resolving, .closed: break
        }
        let isWatched =
            client.watch(input: readsClient, output: client.pending > 0)
            && upstream?.watch(input: readsUpstream, output: awaitsUpstream) != false
        if !isFlushed || !isWatched { fail("the connection broke") }
    }
}

// Before bytes are passed.
extension ProxyConnection {
    private func readHead() {
        switch client?.read() ?? .failed {
        case .bytes(let bytes): early += bytes
        case .nothing: return
        case .end, .failed: return fail(early.isEmpty ? nil : "ended before its head did")
        }
        progressAt = .now
        guard let end = ProxyHead.end(in: early) else {
            if early.count > ProxyHead.bytesMax { refuse(ProxyRefusal(400, "the head is too long")) }
            return
        }
        do throws(ProxyRefusal) {
            var head = try ProxyHead(early[..<end])
            early.removeFirst(end)
            (record.host, record.port) = (head.host, head.port)
            name = try door.policy.admit(head)
            record.host = name
            if !head.isTunnel { head = try door.policy.revealing(head, to: name) }
            framing = head.isTunnel ? nil : BodyFraming(head.framing)
            self.head = head
        } catch {
            return refuse(error)
        }
        state = .resolving
        door.resolver.resolve(name) { [weak self, loop] addresses in
            loop.execute { [weak self] in self?.resolved(addresses) }
        }
    }

    private func resolved(_ addresses: [NetworkAddress]) {
        guard case .resolving = state else { return }
        progressAt = .now
        do throws(ProxyRefusal) {
            connect(try door.policy.reachable(addresses, of: name))
        } catch {
            refuse(error)
        }
        watch()
    }

    /// To the first of the addresses that answers.
    private func connect(_ addresses: [NetworkAddress]) {
        var rest = addresses[...]
        while let address = rest.popFirst() {
            // What is wrong with one address shows in the refusal, when there is no other.
            guard let descriptor = try? Socket.connect(to: address.bytes, port: record.port) else { continue }
            record.address = address
            upstream = ProxySide(descriptor, loop: loop, connection: self)
            state = .connecting(Array(rest))
            return
        }
        refuse(ProxyRefusal(502, "\(name):\(record.port) can not be reached"))
    }

    private func finishConnecting(_ rest: [NetworkAddress]) {
        guard let upstream, let client, let head else { return }
        var polled = pollfd(fd: upstream.descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&polled, 1, 0) == 1 else { return }
        if Socket.failure(upstream.descriptor) != nil {
            upstream.close(aborting: true)
            self.upstream = nil
            return connect(rest)
        }
        progressAt = .now
        record.isAllowed = true
        if head.isTunnel {
            client.queue("HTTP/1.1 200 Connection established\r\n\r\n".utf8)
            state = .hello
            // It may have come along with the head.
            if !early.isEmpty { readHello() }
            return
        }
        let forwarded = head.forwarded()
        upstream.queue(forwarded)
        record.sentBytes += forwarded.count
        door.sentBytes += forwarded.count
        state = .relaying
        let first = early
        early = []
        pass(first)
    }

    private func readHello() {
        if early.isEmpty || ClientHello.read(early) == .incomplete {
            switch client?.read() ?? .failed {
            case .bytes(let bytes): early += bytes
            case .nothing: return
            case .end, .failed: return fail("ended before it named a host")
            }
        }
        switch ClientHello.read(early) {
        case .incomplete: return
        case .notTLS: fail("a tunnel that does not speak TLS")
        case .name(let asked):
            guard let asked, HostRule.hostName(asked) == name else {
                return fail("a tunnel to \(name) that asks for \(asked ?? "no host")")
            }
            state = .relaying
            let first = early
            early = []
            pass(first)
        }
    }
}

// Passing bytes.
extension ProxyConnection {
    private func relay() {
        guard let client, let upstream else { return }
        if upstream.hasRoom {
            switch client.read() {
            case .bytes(let bytes): pass(bytes)
            case .nothing: break
            case .end: if upstream.pending == 0 { upstream.endWriting() }
            case .failed: return fail(nil)
            }
        }
        guard case .relaying = state else { return }
        if client.hasEnded, upstream.pending == 0 { upstream.endWriting() }
        if client.hasRoom {
            switch upstream.read() {
            case .bytes(let bytes): receive(bytes)
            case .nothing: break
            case .end: break
            case .failed: return fail("the host broke the connection")
            }
        }
        if upstream.hasEnded, client.pending == 0 || client.flush() && client.pending == 0 { close() }
    }

    /// Client to host: of a request its body and no more, of a tunnel everything.
    private func pass(_ bytes: [UInt8]) {
        guard let upstream, !bytes.isEmpty else { return }
        progressAt = .now
        var count = bytes.count
        do throws(ProxyRefusal) {
            if framing != nil { count = try framing?.take(bytes) ?? 0 }
        } catch {
            return fail(error.reason)
        }
        record.sentBytes += count
        door.sentBytes += count
        guard door.sentBytes <= door.hosts.requestBytesMax else {
            return fail("requests of this run are over \(door.hosts.requestBytesMax) bytes")
        }
        upstream.queue(bytes[..<count])
    }

    private func receive(_ bytes: [UInt8]) {
        progressAt = .now
        if record.receivedBytes == 0, framing != nil { record.status = Self.status(bytes) }
        record.receivedBytes += bytes.count
        door.receivedBytes += bytes.count
        guard door.receivedBytes <= door.hosts.responseBytesMax else {
            return fail("responses of this run are over \(door.hosts.responseBytesMax) bytes")
        }
        client?.queue(bytes)
    }

    private static func status(_ bytes: [UInt8]) -> Int? {
        let line = bytes.prefix(12)
        guard line.count == 12, line.starts(with: Array("HTTP/1.".utf8)) else { return nil }
        return Int(String(decoding: line.suffix(3), as: UTF8.self))
    }
}

// The end.
extension ProxyConnection {
    private func refuse(_ refusal: ProxyRefusal) {
        record.reason = refusal.reason
        client?.queue(refusal.response)
        state = .refusing
    }

    /// A refusal is read before the connection ends: what still comes is thrown away until the other side
    /// closes.
    private func discard() {
        while true {
            switch client?.read() ?? .failed {
            case .bytes: continue
            case .nothing: return
            case .end, .failed: return close()
            }
        }
    }

    /// Ends with an error to both sides; nil where there is nothing to say about it.
    private func fail(_ reason: String?) {
        if record.reason == nil { record.reason = reason }
        close(aborting: true)
    }

    private func close(aborting: Bool = false) {
        if case .closed = state { return }
        state = .closed
        client?.close(aborting: aborting)
        upstream?.close(aborting: aborting)
        (client, upstream) = (nil, nil)
        record.duration = ContinuousClock.now - began
        door.closed(self, record)
    }
}
