/// Which run is due next: a heap that forgets nothing, so an entry may be of a run that has ended since.
struct Deadlines {
    private var heap: [(due: UInt64, id: UInt64)] = []

    var next: UInt64? { heap.first?.due }

    mutating func insert(_ id: UInt64, due: UInt64) {
        heap.append((due, id))
        var child = heap.count - 1
        while child > 0, heap[child].due < heap[(child - 1) / 2].due {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// The earliest run due by `now`, or nil.
    mutating func popDue(_ now: UInt64) -> UInt64? {
        guard let first = heap.first, first.due <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < heap.count else { return first.id }
            let right = left + 1
            let least = right < heap.count && heap[right].due < heap[left].due ? right : left
            guard heap[least].due < heap[parent].due else { return first.id }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
