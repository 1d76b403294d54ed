import CLinux
import Dispatch
import Glibc
import Pipeline
import Synchronization

/// Wakes whoever waits for the log to change: at once within the process and, by a watched file, in the other
/// processes on the same folder; and twice a second in any case, so that leases and time limits are looked
/// at.
final class Bell: Sendable {
    /// One who waits. A wait that is cancelled ends itself, and the next one waits anew.
    final class Watch: Sendable {
        private struct State {
            var isRung = false
            var isClosed = false
            var waiter: CheckedContinuation<Bool, Never>?
        }

        fileprivate let id: UInt64
        private let state = Mutex(State())

        fileprivate init(id: UInt64) {
            self.id = id
        }

        /// For one task at a time. False once the bell is closed or the task is cancelled.
        func next() async -> Bool {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let answer = state.withLock { state -> Bool? in
                        if state.isClosed || Task.isCancelled { return false }
                        guard !state.isRung else {
                            state.isRung = false
                            return true
                        }
                        state.waiter = continuation
                        return nil
                    }
                    if let answer { continuation.resume(returning: answer) }
                }
            } onCancel: {
                take { _ in }?.resume(returning: false)
            }
        }

        fileprivate func ring() {
            take { if $0.waiter == nil { $0.isRung = true } }?.resume(returning: true)
        }

        fileprivate func close() {
            take { $0.isClosed = true }?.resume(returning: false)
        }

        private func take(_ change: (inout State) -> Void) -> CheckedContinuation<Bool, Never>? {
            state.withLock { state in
                change(&state)
                defer { state.waiter = nil }
                return state.waiter
            }
        }
    }

    private struct State {
        var watches: [UInt64: Watch] = [:]
        var nextID: UInt64 = 0
        var isClosed = false
    }

    private let state = Mutex(State())
    private let file: CInt
    private let inotify: CInt
    // Made in `init`, ended in `deinit`, untouched in between; their handlers run on their own queue.
    nonisolated(unsafe) private let ticker: any DispatchSourceTimer
    nonisolated(unsafe) private let watcher: any DispatchSourceRead

    init(folder: String) throws(EventLogError) {
        let path = "\(folder)/bell"
        file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        inotify = inotify_init1(CInt(O_NONBLOCK | O_CLOEXEC))
        guard file >= 0, inotify >= 0, inotify_add_watch(inotify, path, UInt32(IN_MODIFY)) >= 0 else {
            throw EventLogError(.denied, "\(path): \(String(cString: strerror(errno)))")
        }
        let queue = DispatchQueue(label: "penstock.log.bell")
        ticker = DispatchSource.makeTimerSource(queue: queue)
        watcher = DispatchSource.makeReadSource(fileDescriptor: inotify, queue: queue)
        ticker.schedule(
            deadline: .now() + .milliseconds(500),
            repeating: .milliseconds(500),
            leeway: .milliseconds(50)
        )
        ticker.setEventHandler { [weak self] in self?.wake() }
        watcher.setEventHandler { [weak self, inotify] in
            var events = [UInt8](repeating: 0, count: 4_096)
            while Glibc.read(inotify, &events, events.count) > 0 {}
            self?.wake()
        }
        ticker.resume()
        watcher.resume()
    }

    deinit {
        ticker.cancel()
        watcher.cancel()
        Glibc.close(file)
        Glibc.close(inotify)
    }

    func watch() -> Watch {
        state.withLock { state in
            let watch = Watch(id: state.nextID)
            state.nextID += 1
            state.watches[watch.id] = watch
            if state.isClosed { watch.close() }
            return watch
        }
    }

    func unwatch(_ watch: Watch) {
        state.withLock { _ = $0.watches.removeValue(forKey: watch.id) }
    }

    /// Something changed.
    func ring() {
        wake()
        var byte: UInt8 = 1
        // The others look twice a second by themselves; a lost ring only costs them that.
        _ = pwrite(file, &byte, 1, 0)
    }

    func close() {
        let watches = state.withLock { state in
            state.isClosed = true
            return state.watches.values
        }
        for watch in watches { watch.close() }
    }

    private func wake() {
        let watches = state.withLock { $0.watches.values }
        for watch in watches { watch.ring() }
    }
}
