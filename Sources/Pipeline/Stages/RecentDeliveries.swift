import Synchronization
import Topics

/// The dedupekeys of events that are surely on the log, the newest of them.
///
/// Advisory: it saves work where a platform repeats itself. The worker decides what was handled.
final class RecentDeliveries: Sendable {
    private struct State {
        var ids: [String: String] = [:]
        /// A ring: the oldest is at `next` once it is full.
        var keys: [String] = []
        var next = 0
    }

    private let capacity: Int
    private let state = Mutex(State())

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// The id under which the event is on the log.
    func id(of dedupekey: String) -> String? {
        state.withLock { $0.ids[dedupekey] }
    }

    /// Only for events whose append has succeeded.
    func note(_ events: [InboundEvent]) {
        state.withLock { state in
            for event in events where state.ids[event.dedupekey] == nil {
                if state.keys.count < capacity {
                    state.keys.append(event.dedupekey)
                } else {
                    state.ids[state.keys[state.next]] = nil
                    state.keys[state.next] = event.dedupekey
                    state.next = (state.next + 1) % capacity
                }
                state.ids[event.dedupekey] = event.id
            }
        }
    }
}

/// The events of one request, told apart by whether the log has them already.
struct DeliverySorting {
    private let known: RecentDeliveries
    private var idsHere: [String: String] = [:]
    private(set) var fresh: [InboundEvent] = []
    /// Of all events of the request, in order, as they are on the log.
    private(set) var ids: [String] = []

    init(known: RecentDeliveries) {
        self.known = known
    }

    mutating func add(_ event: InboundEvent) {
        if let id = known.id(of: event.dedupekey) ?? idsHere[event.dedupekey] {
            ids.append(id)
        } else {
            idsHere[event.dedupekey] = event.id
            fresh.append(event)
            ids.append(event.id)
        }
    }
}
