import Foundation
import Glibc
import Synchronization

/// Threads, because the tests' servers block, and the pool of tasks has two.
func startThread(_ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.stackSize = 512 * 1_024
    thread.start()
}

/// Lets threads and tasks wait for each other without a clock.
final class Gate: Sendable {
    private let state = Mutex<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))
    private let ends: [CInt]

    init() {
        var ends: [CInt] = [0, 0]
        pipe(&ends)
        self.ends = ends
    }

    deinit {
        for end in ends { close(end) }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
        _ = write(ends[1], "o", 1)
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    /// For threads: one passes for each time it was opened.
    func block() {
        var byte: UInt8 = 0
        _ = read(ends[0], &byte, 1)
    }
}
