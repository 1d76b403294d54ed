import CZstd
import Synchronization

package struct ZstandardError: Error, Hashable {
    /// libzstd's words.
    package let detail: String
}

/// Zstandard (RFC 8878) by libzstd: one frame, with its size in front and a checksum behind, so that other
/// bytes than those compressed never come out unnoticed. The same bytes give the same frame.
package enum Zstandard {
    private static let level: Int32 = 3
    private static let pool = Mutex<(compressors: [Compressor], expanders: [Expander])>(([], []))
    private static let pooledMax = 4

    /// Whether the bytes begin as a frame does; what is no frame may begin so too.
    package static func isFrame(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD])
    }

    package static func compress(_ bytes: [UInt8]) -> [UInt8] {
        let compressor = pool.withLock { $0.compressors.popLast() } ?? Compressor(level: level)
        defer {
            pool.withLock { if $0.compressors.count < pooledMax { $0.compressors.append(compressor) } }
        }
        return compressor.compress(bytes)
    }

    /// Throws when the bytes are not one whole frame, or when it holds more than `bytesMax`.
    package static func expand(_ bytes: [UInt8], bytesMax: Int) throws(ZstandardError) -> [UInt8] {
        let size = ZSTD_getFrameContentSize(bytes, bytes.count)
        // The two ends of the range mean "not said" and "no frame".
        guard size < UInt64.max - 1 else { throw ZstandardError(detail: "not a frame with its size") }
        guard size <= UInt64(bytesMax) else {
            throw ZstandardError(detail: "\(size) bytes are in it, over \(bytesMax)")
        }
        let expander = pool.withLock { $0.expanders.popLast() } ?? Expander()
        defer { pool.withLock { if $0.expanders.count < pooledMax { $0.expanders.append(expander) } } }
        return try expander.expand(bytes, into: Int(size))
    }

    fileprivate static func words(_ code: Int) -> String { String(cString: ZSTD_getErrorName(code)) }
}

/// A context of libzstd; making one costs several times what compressing a small object does.
// One caller has it at a time: it is taken out of the pool and put back.
private final class Compressor: @unchecked Sendable {
    private let context: OpaquePointer
    private static let keptMax = 256 * 1_024
    /// Where a frame is made whose size is not known before; what is kept has its own size.
    private var room: [UInt8] = []

    init(level: Int32) {
        guard let context = ZSTD_createCCtx() else { preconditionFailure("libzstd has no memory") }
        self.context = context
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
    }

    deinit { ZSTD_freeCCtx(context) }

    func compress(_ bytes: [UInt8]) -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.count)
        if room.count < bound { room = [UInt8](repeating: 0, count: bound) }
        let written = ZSTD_compress2(context, &room, room.count, bytes, bytes.count)
        precondition(ZSTD_isError(written) == 0, "libzstd: \(Zstandard.words(written))")
        defer { if room.count > Self.keptMax { room = [] } }
        return Array(room[..<written])
    }
}

// As above: one caller at a time.
private final class Expander: @unchecked Sendable {
    private let context: OpaquePointer

    init() {
        guard let context = ZSTD_createDCtx() else { preconditionFailure("libzstd has no memory") }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    func expand(_ bytes: [UInt8], into size: Int) throws(ZstandardError) -> [UInt8] {
        var code = 0
        let expanded = [UInt8](unsafeUninitializedCapacity: max(size, 1)) { buffer, count in
            code = ZSTD_decompressDCtx(context, buffer.baseAddress, size, bytes, bytes.count)
            count = ZSTD_isError(code) == 0 ? code : 0
        }
        guard ZSTD_isError(code) == 0 else { throw ZstandardError(detail: Zstandard.words(code)) }
        guard expanded.count == size else { throw ZstandardError(detail: "it ends too early") }
        return expanded
    }
}
