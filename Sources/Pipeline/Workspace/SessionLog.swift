import Synchronization

/// What a background process said, in the order it came. The sandbox's cap bounds it.
final class SessionLog: Sendable {
    private let said = Mutex<[UInt8]>([])

    var bytes: [UInt8] { said.withLock { $0 } }

    func append(_ bytes: [UInt8]) { said.withLock { $0 += bytes } }
}
