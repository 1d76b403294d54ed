import CCurl
import CLinux
import Glibc
import Pipeline
import Synchronization

/// Drives libcurl on one thread with epoll. Transfers are spread over shards, because libcurl walks all
/// connections of a handle at every start.
final class CurlEngine: @unchecked Sendable {
    // Safe to share: `inbox` is locked; all else is touched on the engine's thread once it runs.
    private enum Order {
        case start(CurlTransfer)
        case resume(CurlTransfer)
        case cancel(CurlTransfer)
    }

    /// What libcurl's callbacks find: which shard of which engine.
    private final class Shard {
        unowned let engine: CurlEngine
        let multi: UnsafeMutableRawPointer?
        var deadline: ContinuousClock.Instant?
        var count = 0

        init(_ engine: CurlEngine) {
            self.engine = engine
            multi = curl_multi_init()
        }
    }

    private let epoll: CInt
    private let wake: CInt
    private let inbox = Mutex<[Order]>([])
    private var shards: [Shard] = []
    private var shardOfSocket: [CInt: Shard] = [:]
    private var active: [ObjectIdentifier: CurlTransfer] = [:]
    private var waiting: [ObjectIdentifier: CurlTransfer] = [:]
    private var waitingCheck: ContinuousClock.Instant?
    private var admission: Admission<CurlTransfer>
    private let setup: CurlSetup

    /// Transfers to one host that may be without a connection at a time.
    private static let startingMax = 32

    init(shards count: Int, transfersMax: Int, setup: CurlSetup) {
        // Counted by libcurl itself: every engine may ask.
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        self.setup = setup
        admission = Admission(transfersMax: transfersMax, startingMax: Self.startingMax)
        epoll = epoll_create1(CInt(O_CLOEXEC))
        wake = eventfd(0, CInt(O_CLOEXEC | O_NONBLOCK))
        precondition(epoll >= 0 && wake >= 0, "no descriptor for the HTTP client: errno \(errno)")
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: wake))
        epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event)
        shards = (0..<count).map { _ in Shard(self) }
        for shard in shards { register(shard) }
        var thread = pthread_t()
        // Lives as long as the process.
        let context = Unmanaged.passRetained(self).toOpaque()
        pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                Unmanaged<CurlEngine>.fromOpaque(context).takeUnretainedValue().run()
            },
            context
        )
        pthread_setname_np(thread, "http-client")
    }

    func start(_ transfer: CurlTransfer) { put(.start(transfer)) }
    func resume(_ transfer: CurlTransfer) { put(.resume(transfer)) }
    func cancel(_ transfer: CurlTransfer) { put(.cancel(transfer)) }

    private func put(_ order: Order) {
        let isFirst = inbox.withLock { inbox in
            inbox.append(order)
            return inbox.count == 1
        }
        guard isFirst else { return }
        var one: UInt64 = 1
        write(wake, &one, 8)
    }

    private func register(_ shard: Shard) {
        let context = Unmanaged.passUnretained(shard).toOpaque()
        penstock_multi_callbacks(
            shard.multi,
            { _, socket, what, context, _ in
                guard let context else { return 0 }
                let shard = Unmanaged<Shard>.fromOpaque(context).takeUnretainedValue()
                shard.engine.watch(socket, what, shard)
                return 0
            },
            { _, milliseconds, context in
                guard let context else { return 0 }
                let shard = Unmanaged<Shard>.fromOpaque(context).takeUnretainedValue()
                shard.deadline = milliseconds < 0 ? nil : .now + .milliseconds(milliseconds)
                return 0
            },
            context
        )
        penstock_multi_long(shard.multi, CURLMOPT_MAXCONNECTS, 64)
    }

    private func watch(_ socket: CInt, _ what: CInt, _ shard: Shard) {
        guard what != CURL_POLL_REMOVE else {
            epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nil)
            shardOfSocket[socket] = nil
            return
        }
        var interest: UInt32 = 0
        if what & CURL_POLL_IN != 0 { interest |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { interest |= EPOLLOUT.rawValue }
        var event = epoll_event(events: interest, data: epoll_data_t(fd: socket))
        let isKnown = shardOfSocket.updateValue(shard, forKey: socket) != nil
        // A descriptor closed behind our back and used again is new to epoll.
        if isKnown, epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event) == 0 { return }
        if epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) != 0 {
            epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event)
        }
    }

    private func run() -> Never {
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        while true {
            let count = epoll_wait(epoll, &events, CInt(events.count), waitMilliseconds)
            for event in events.prefix(Int(max(count, 0))) { dispatch(event) }
            takeOrders()
            admit()
            let now = ContinuousClock.now
            for shard in shards where shard.deadline.map({ $0 <= now }) ?? false {
                shard.deadline = nil
                act(shard, CURL_SOCKET_TIMEOUT, 0)
            }
            // What ended or got its connection makes room.
            admit()
            if let check = waitingCheck, check <= now { endLate(now) }
        }
    }

    private var waitMilliseconds: CInt {
        guard let next = (shards.map(\.deadline) + [waitingCheck]).compactMap(\.self).min() else { return -1 }
        let left = (next - .now).milliseconds
        return CInt(min(max(left + 1, 0), 60_000))
    }

    private func dispatch(_ event: epoll_event) {
        let socket = event.data.fd
        guard socket != wake else {
            var value: UInt64 = 0
            read(wake, &value, 8)
            return
        }
        guard let shard = shardOfSocket[socket] else { return }
        var flags: CInt = 0
        if event.events & (EPOLLIN.rawValue | EPOLLHUP.rawValue) != 0 { flags |= CURL_CSELECT_IN }
        if event.events & EPOLLOUT.rawValue != 0 { flags |= CURL_CSELECT_OUT }
        if event.events & EPOLLERR.rawValue != 0 { flags |= CURL_CSELECT_ERR }
        act(shard, socket, flags)
    }

    private func act(_ shard: Shard, _ socket: CInt, _ flags: CInt) {
        var running: CInt = 0
        curl_multi_socket_action(shard.multi, socket, flags, &running)
        collect(shard)
    }

    private func collect(_ shard: Shard) {
        var left: CInt = 0
        while let message = curl_multi_info_read(shard.multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else {
                continue
            }
            let code = message.pointee.data.result
            guard let context = penstock_easy_context(easy) else { continue }
            let transfer = Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue()
            end(transfer, code)
        }
    }

    private func takeOrders() {
        let orders = inbox.withLock { inbox in
            defer { inbox = [] }
            return inbox
        }
        for order in orders {
            switch order {
            case .start(let transfer):
                // The order to cancel came before, and found nothing.
                guard !transfer.isCancelled else {
                    transfer.finish(.failure(transfer.failure(CURLE_ABORTED_BY_CALLBACK)))
                    continue
                }
                waiting[ObjectIdentifier(transfer)] = transfer
                waitingCheck = min(waitingCheck ?? transfer.deadline, transfer.deadline)
                admission.add(transfer, to: transfer.host)
            case .resume(let transfer):
                guard active[ObjectIdentifier(transfer)] != nil else { continue }
                curl_easy_pause(transfer.easy, CURLPAUSE_CONT)
                collect(shards[transfer.shard])
            case .cancel(let transfer):
                if waiting.removeValue(forKey: ObjectIdentifier(transfer)) != nil {
                    transfer.finish(.failure(transfer.failure(CURLE_ABORTED_BY_CALLBACK)))
                } else if active[ObjectIdentifier(transfer)] != nil {
                    end(transfer, CURLE_ABORTED_BY_CALLBACK)
                }
            }
        }
    }

    /// Starts what may start. Never within a callback of libcurl's, which forbids it.
    private func admit() {
        while let transfer = admission.next() {
            // Those that ended while they waited are still in the line.
            if waiting.removeValue(forKey: ObjectIdentifier(transfer)) != nil { begin(transfer) }
            if active[ObjectIdentifier(transfer)] == nil {
                admission.hasEnded(on: transfer.host, hadStarted: false)
            }
        }
    }

    /// Called from libcurl's callback, once for each transfer.
    func hasStarted(_ transfer: CurlTransfer) {
        transfer.hasStarted = true
        admission.hasStarted(on: transfer.host)
    }

    /// Those that waited their whole time. Looks at all, so at most ten times a second.
    private func endLate(_ now: ContinuousClock.Instant) {
        for (id, transfer) in waiting where transfer.deadline <= now {
            waiting[id] = nil
            transfer.finish(
                .failure(
                    HTTPTransportError(
                        .unreachable,
                        "\(transfer.place): no free connection within the time allowed"
                    )
                )
            )
        }
        waitingCheck = waiting.values.map(\.deadline).min().map { max($0, now + .milliseconds(100)) }
    }

    private func begin(_ transfer: CurlTransfer) {
        guard setup.prepare(transfer) else {
            return transfer.finish(
                .failure(
                    HTTPTransportError(
                        .invalid,
                        "\(transfer.place): the request can not be sent as it is"
                    )
                )
            )
        }
        transfer.shard = shards.indices.min { shards[$0].count < shards[$1].count } ?? 0
        shards[transfer.shard].count += 1
        active[ObjectIdentifier(transfer)] = transfer
        curl_multi_add_handle(shards[transfer.shard].multi, transfer.easy)
    }

    private func end(_ transfer: CurlTransfer, _ code: CURLcode) {
        guard active.removeValue(forKey: ObjectIdentifier(transfer)) != nil else { return }
        let status = Int(penstock_easy_status(transfer.easy))
        shards[transfer.shard].count -= 1
        admission.hasEnded(on: transfer.host, hadStarted: transfer.hasStarted)
        curl_multi_remove_handle(shards[transfer.shard].multi, transfer.easy)
        curl_easy_cleanup(transfer.easy)
        curl_slist_free_all(transfer.list)
        transfer.easy = nil
        if code == CURLE_OK {
            transfer.finish(
                .response(HTTPResponse(status: status, fields: transfer.fields, body: transfer.collected))
            )
        } else {
            transfer.finish(.failure(transfer.failure(code)))
        }
    }
}
