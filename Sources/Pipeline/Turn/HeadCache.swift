import Synchronization

/// The newest slots of conversations at work, so that a warm conversation reads nothing.
///
/// An entry is good only under the assignment it was made under: while the partition was elsewhere, somebody
/// else may have gone on. Evicts the oldest entry when full.
package final class HeadCache: Sendable {
    private struct Entry {
        let slot: Slot
        let requests: RequestHasher
        let assignment: Assignment
        let order: UInt64
    }

    private struct State {
        var entries: [String: Entry] = [:]
        var queue: [(key: String, order: UInt64)] = []
        var queueStart = 0
        var order: UInt64 = 0
    }

    private let capacity: Int
    private let state = Mutex(State())

    package init(capacity: Int) {
        self.capacity = capacity
    }

    /// `requests`: as the slot's turn left it.
    package func head(_ conversation: String, under assignment: Assignment)
        -> (slot: Slot, requests: RequestHasher)?
    {
        state.withLock { state in
            guard let entry = state.entries[conversation], entry.assignment.isSame(as: assignment) else {
                return nil
            }
            return (entry.slot, entry.requests)
        }
    }

    package func insert(
        _ slot: Slot,
        _ requests: RequestHasher,
        for conversation: String,
        under assignment: Assignment
    ) {
        var slot = slot
        slot.forgetJSON()
        state.withLock { state in
            state.order += 1
            state.entries[conversation] = Entry(
                slot: slot,
                requests: requests,
                assignment: assignment,
                order: state.order
            )
            state.queue.append((conversation, state.order))
            evict(&state)
        }
    }

    package func remove(_ conversation: String) {
        state.withLock { _ = $0.entries.removeValue(forKey: conversation) }
    }

    private func evict(_ state: inout State) {
        while state.entries.count > capacity {
            let (key, order) = state.queue[state.queueStart]
            state.queueStart += 1
            if state.entries[key]?.order == order { state.entries.removeValue(forKey: key) }
        }
        // A conversation that goes on leaves its old places behind in the queue.
        guard state.queue.count > 4 * capacity else { return }
        state.queue = state.entries.map { ($0.key, $0.value.order) }.sorted { $0.1 < $1.1 }
        state.queueStart = 0
    }
}
