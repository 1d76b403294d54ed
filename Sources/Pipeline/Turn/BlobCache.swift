import Synchronization

/// Blobs by their hash, the newest of them, up to so many bytes.
final class BlobCache: Sendable {
    private struct State {
        var bytes: [String: [UInt8]] = [:]
        var order: [String] = []
        var total = 0
    }

    private let bytesMax: Int
    private let state = Mutex(State())

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    func bytes(_ hash: String) -> [UInt8]? { state.withLock { $0.bytes[hash] } }

    func insert(_ bytes: [UInt8], as hash: String) {
        guard bytes.count <= bytesMax / 4 else { return }
        state.withLock { state in
            guard state.bytes.updateValue(bytes, forKey: hash) == nil else { return }
            state.order.append(hash)
            state.total += bytes.count
            var gone = 0
            while state.total > bytesMax {
                state.total -= state.bytes.removeValue(forKey: state.order[gone])?.count ?? 0
                gone += 1
            }
            state.order.removeFirst(gone)
        }
    }
}
