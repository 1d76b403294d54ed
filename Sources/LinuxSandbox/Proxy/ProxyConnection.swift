import Crypto
import Glibc
import Network
import Pipeline

/// One connection out of a sandbox: reads what is asked, decides, resolves, connects, and passes bytes.
/// Touched on the loop's thread only.
final class ProxyConnection: ProxySideOwner, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread.
    private enum State {
        case head
        case resolving
        case connecting([NetworkAddress])
        /// A tunnel is open; its first bytes must name the host.
        case hello
        /// TLS with the command: its handshake, then the head of its one request.
        case unwrapping
        /// TLS with the host: its handshake.
        case securing
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
        case .unwrapping: take(client?.read() ?? .failed)
        case .securing: greetHost(upstream?.read() ?? .failed)
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
        case .head, .resolving, .connecting, .hello, .unwrapping, .securing, .refusing:
            if now - progressAt > Self.startTimeout { fail("not begun within 15 s") }
        default: break
        }
    }

    /// The run is over. What it did before still counts: an end that has not been seen yet, an alert.
    func abandon() {
        advance()
        let isAnswered = record.status != nil && (client?.hasEnded == true || upstream?.hasEnded == true)
        fail(isAnswered ? nil : "the run ended")
    }

    private func watch() {
        guard let client else { return }
        let isFlushed = client.flush() && upstream?.flush() != false
        if case .refusing = state, client.pending == 0 { client.endWriting() }
        var readsClient = false
        var readsUpstream = false
        var awaitsUpstream = (upstream?.pending ?? 0) > 0
        switch state {
        case .head, .hello, .unwrapping, .refusing: readsClient = !client.hasEnded
        case .securing: readsUpstream = upstream?.hasEnded == false
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
            if !head.isTunnel { head = try door.policy.revealing(head, to: name, overTLS: false) }
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
            client.queue(Array("HTTP/1.1 200 Connection established\r\n\r\n".utf8))
            state = .hello
            // It may have come along with the head.
            if !early.isEmpty { readHello() }
            return
        }
        forward(head)
    }

    /// The head of the request, and what of its body came along.
    private func forward(_ head: ProxyHead) {
        let forwarded = head.forwarded()
        upstream?.queue(forwarded)
        record.sentBytes += forwarded.count
        door.sentBytes += forwarded.count
        relayEarly()
    }

    private func relayEarly() {
        state = .relaying
        let first = early
        early = []
        pass(first)
        if record.isIntercepted, client?.hasEnded == true { checkEnd() }
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
            if door.policy.intercepts(name, record.port) { return unwrap() }
            relayEarly()
        }
    }
}

// TLS that the proxy reads: one request, to the host of the tunnel and no other.
extension ProxyConnection {
    private func unwrap() {
        guard let client, let authority = door.tls.authority else { return fail("no authority for TLS") }
        record.isIntercepted = true
        let hello = early
        early = []
        do throws(TLSError) {
            let context = try TLSContext(server: try authority.identity(for: name))
            state = .unwrapping
            take(client.secure(try TLSEngine(server: context), early: hello))
        } catch {
            fail("no certificate for \(name): \(error.detail)")
        }
    }

    /// What the command said within TLS, until the head is whole. The time-out is of all this together.
    private func take(_ piece: ProxySide.Piece) {
        switch piece {
        case .bytes(let bytes): early += bytes
        case .nothing: return
        case .end: return fail("ended before the head within TLS did")
        case .failed:
            return fail("the command's TLS: \(client?.failure ?? "the connection broke")")
        }
        guard let end = ProxyHead.end(in: early) else {
            if early.count > ProxyHead.bytesMax {
                refuse(ProxyRefusal(400, "the head is too long"))
            } else if client?.hasEnded == true {
                fail("ended before the head within TLS did")
            }
            return
        }
        do throws(ProxyRefusal) {
            let asked = try ProxyHead(early[..<end], within: (name, record.port))
            head = try door.policy.revealing(asked, to: name, overTLS: true)
            framing = BodyFraming(asked.framing)
            early.removeFirst(end)
            try secureHost()
        } catch {
            refuse(error)
        }
    }

    private func secureHost() throws(ProxyRefusal) {
        guard let upstream else { return }
        progressAt = .now
        do throws(TLSError) {
            state = .securing
            greetHost(upstream.secure(try TLSEngine(client: door.tls.trust, host: name)))
        } catch {
            throw ProxyRefusal(502, "\(name):\(record.port): \(error.detail)")
        }
    }

    /// Nothing of the request is sent before the host's certificate is known to be its own.
    private func greetHost(_ piece: ProxySide.Piece) {
        guard let upstream, let head else { return }
        switch piece {
        case .end, .failed:
            let why = upstream.failure ?? "it ended the connection before TLS began"
            return refuse(ProxyRefusal(502, "\(name):\(record.port): \(why)"))
        case .nothing where !upstream.isSecured: return
        case .nothing: forward(head)
        // A host that answers before it was asked.
        case .bytes(let bytes):
            forward(head)
            if case .relaying = state { receive(bytes) }
        }
    }

    /// The other side of a request that was read: its end says nothing to the host, which knows where the
    /// request ends.
    private func checkEnd() {
        if framing?.isDone == false { fail("ended before its body did") }
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
            case .end: break
            case .failed: return fail(client.failure.map { "the command's TLS: \($0)" })
            }
        }
        guard case .relaying = state else { return }
        if client.hasEnded {
            if record.isIntercepted { checkEnd() } else if upstream.pending == 0 { upstream.endWriting() }
        }
        guard case .relaying = state else { return }
        if client.hasRoom {
            switch upstream.read() {
            case .bytes(let bytes): receive(bytes)
            case .nothing: break
            case .end: break
            case .failed: return fail(upstream.failure ?? "the host broke the connection")
            }
        }
        // A cut stays a cut: only the command knows how much it awaits.
        if upstream.hasEnded, !upstream.isCut { client.sayEnd() }
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
        upstream.queue(Array(bytes[..<count]))
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
        record.isAllowed = false
        client?.queue(refusal.response)
        state = .refusing
        // With the alert, if it was TLS that failed.
        _ = upstream?.flush()
        upstream?.close(aborting: true)
        upstream = nil
    }

    /// A refusal is read before the connection ends: what still comes is thrown away until the other side
    /// closes.
    private func discard() {
        while true {
            switch client?.read() ?? .failed {
            case .bytes: continue
            case .nothing where client?.hasEnded == false: return
            case .nothing, .end, .failed: return close()
            }
        }
    }

    /// Ends with an error to both sides; nil where there is nothing to say about it.
    private func fail(_ reason: String?) {
        if record.reason == nil { record.reason = reason }
        // An alert of TLS, for the command to tell of.
        if client?.failure != nil { _ = client?.flush() }
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
