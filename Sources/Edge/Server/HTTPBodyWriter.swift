import Network

/// Writes the body of a streamed answer.
package final class HTTPBodyWriter: Sendable {
    private let connection: HTTPConnection
    private let loop: EventLoop

    init(connection: HTTPConnection, loop: EventLoop) {
        self.connection = connection
        self.loop = loop
    }

    /// Queues the bytes. False when the other side is gone, or more than 1 MiB behind: then write no more.
    package func write(_ bytes: [UInt8]) async -> Bool {
        let connection = connection
        if loop.isCurrent { return connection.writeChunk(bytes) }
        return await withCheckedContinuation { continuation in
            loop.execute { continuation.resume(returning: connection.writeChunk(bytes)) }
        }
    }
}
