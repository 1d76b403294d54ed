import Compression
import Crypto

/// How a conversation's objects lie in a store: documents as zstd frames, whose checksum tells other bytes
/// from those put; blobs, which their name checks, compressed where it pays.
///
/// Documents of format 1 were plain JSON; they are still read.
enum StoredForm {
    /// Most bytes of one document, expanded.
    static let documentBytesMax = 64 << 20
    /// Most bytes of one blob, expanded: a workspace's largest file has far fewer.
    static let blobBytesMax = 1 << 30

    static func document(_ json: [UInt8]) -> [UInt8] { Zstandard.compress(json) }

    /// Nil when the bytes are not those of a document.
    static func json(_ body: [UInt8]) -> [UInt8]? {
        if body.first == UInt8(ascii: "{") { return body }
        // What was wrong with the frame does not matter: it is not what was put.
        return try? Zstandard.expand(body, bytesMax: documentBytesMax)
    }

    /// The blob's bytes as they are stored: compressed when that saves an eighth or more.
    static func stored(blob: [UInt8]) -> [UInt8] {
        guard blob.count >= 256, isWorthwhile(blob) else { return blob }
        let frame = Zstandard.compress(blob)
        return frame.count <= blob.count - blob.count / 8 ? frame : blob
    }

    /// Large files that are compressed already (archives, pictures) are told by their first 64 KiB.
    private static func isWorthwhile(_ blob: [UInt8]) -> Bool {
        guard blob.count > 1 << 18 else { return true }
        let sample = Array(blob[..<(1 << 16)])
        return Zstandard.compress(sample).count <= sample.count - sample.count / 8
    }

    /// Nil when the stored bytes are not the blob of that hash, compressed or not.
    static func blob(_ body: [UInt8], hash: String) -> [UInt8]? {
        if SHA256.hex(body) == hash { return body }
        guard Zstandard.isFrame(body),
            // As above.
            let expanded = try? Zstandard.expand(body, bytesMax: blobBytesMax), SHA256.hex(expanded) == hash
        else { return nil }
        return expanded
    }
}
