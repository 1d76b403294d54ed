import CLinux
import Glibc
import Synchronization

/// One thread that waits on many descriptors (epoll) and runs Swift tasks in between.
///
/// Everything a handler does happens on this thread, so handlers need no locks and must never block. A loop
/// lives as long as the process: tasks may prefer it as their executor at any time.
package final class EventLoop: TaskExecutor, @unchecked Sendable {
    // Safe to share: `inbox` is locked, the descriptors never change, all else is touched on the loop's
    // thread only.
    private enum Work {
        case job(UnownedJob)
        case call(@Sendable () -> Void)
    }

    private struct Slot {
        var generation: UInt32 = 0
        var handler: (any EventLoopHandler)?
    }

    private let epoll: CInt
    private let wake: CInt
    private let inbox = Mutex<[Work]>([])
    private var slots: [Slot] = []
    private var thread = pthread_t()
    private var lastSweep = ContinuousClock.now
    /// Time-outs are looked at this often.
    private static let sweepInterval: Duration = .milliseconds(500)

    package init(name: String) {
        epoll = epoll_create1(CInt(O_CLOEXEC))
        wake = eventfd(0, CInt(O_CLOEXEC | O_NONBLOCK))
        precondition(epoll >= 0 && wake >= 0, "no descriptor for an event loop: errno \(errno)")
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: UInt64.max))
        epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event)
        let context = Unmanaged.passRetained(self).toOpaque()
        pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                Unmanaged<EventLoop>.fromOpaque(context).takeUnretainedValue().run()
            },
            context
        )
        pthread_setname_np(thread, name)
    }

    package var isCurrent: Bool { pthread_equal(pthread_self(), thread) != 0 }

    /// Runs the body on the loop's thread, soon.
    package func execute(_ body: @escaping @Sendable () -> Void) {
        put(.call(body))
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        put(.job(UnownedJob(job)))
    }

    private func put(_ work: Work) {
        let isFirst = inbox.withLock { inbox in
            inbox.append(work)
            return inbox.count == 1
        }
        guard isFirst else { return }
        var one: UInt64 = 1
        write(wake, &one, 8)
    }

    private func run() -> Never {
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        while true {
            let count = epoll_wait(epoll, &events, CInt(events.count), 500)
            for event in events.prefix(Int(max(count, 0))) { dispatch(event) }
            runInbox()
            sweep()
        }
    }

    private func dispatch(_ event: epoll_event) {
        guard event.data.u64 != UInt64.max else {
            var value: UInt64 = 0
            read(wake, &value, 8)
            return
        }
        let descriptor = Int(event.data.u64 & 0xFFFF_FFFF)
        let generation = UInt32(event.data.u64 >> 32)
        guard descriptor < slots.count, slots[descriptor].generation == generation else { return }
        slots[descriptor].handler?.ready(Readiness(rawValue: event.events))
    }

    private func runInbox() {
        let work = inbox.withLock { inbox in
            defer { inbox = [] }
            return inbox
        }
        for item in work {
            switch item {
            case .job(let job): job.runSynchronously(on: asUnownedTaskExecutor())
            case .call(let body): body()
            }
        }
    }

    private func sweep() {
        let now = ContinuousClock.now
        guard now - lastSweep >= Self.sweepInterval else { return }
        lastSweep = now
        for slot in slots { slot.handler?.sweep(now) }
    }
}

// For handlers, on the loop's thread.
extension EventLoop {
    /// False when the kernel refuses; the descriptor stays the caller's.
    package func add(_ descriptor: CInt, _ interest: Readiness, _ handler: any EventLoopHandler) -> Bool {
        while slots.count <= Int(descriptor) { slots.append(Slot()) }
        slots[Int(descriptor)].generation &+= 1
        slots[Int(descriptor)].handler = handler
        return control(EPOLL_CTL_ADD, descriptor, interest)
    }

    package func change(_ descriptor: CInt, _ interest: Readiness) {
        _ = control(EPOLL_CTL_MOD, descriptor, interest)
    }

    /// Stops its events; its handler is still swept, and may add it again.
    package func pause(_ descriptor: CInt) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
    }

    /// Events that are already on their way for it are dropped.
    package func remove(_ descriptor: CInt) {
        slots[Int(descriptor)].generation &+= 1
        slots[Int(descriptor)].handler = nil
        epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
    }

    private func control(_ operation: CInt, _ descriptor: CInt, _ interest: Readiness) -> Bool {
        let tag = UInt64(slots[Int(descriptor)].generation) << 32 | UInt64(UInt32(bitPattern: descriptor))
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(u64: tag))
        return epoll_ctl(epoll, operation, descriptor, &event) == 0
    }
}

package protocol EventLoopHandler: AnyObject {
    func ready(_ readiness: Readiness)
    /// Twice a second, for time-outs.
    func sweep(_ now: ContinuousClock.Instant)
}

package struct Readiness: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let readable = Readiness(rawValue: EPOLLIN.rawValue)
    package static let writable = Readiness(rawValue: EPOLLOUT.rawValue)
    /// The other side will send no more.
    package static let halfClosed = Readiness(rawValue: EPOLLRDHUP.rawValue)
    package static let failed = Readiness(rawValue: EPOLLERR.rawValue | EPOLLHUP.rawValue)
    /// Of several loops on one listening socket, one is woken for a connection.
    package static let exclusive = Readiness(rawValue: EPOLLEXCLUSIVE.rawValue)
}
