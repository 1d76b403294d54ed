import Glibc

/// Removes a folder that a skill may have filled, whatever it holds, by descriptors: no link is followed.
package enum WorkspaceRemoval {
    private static let depthMax = 4_096

    /// The folder with all in it; links are removed, never followed.
    package static func remove(_ path: String) {
        empty(AT_FDCWD, path, depth: 0)
        rmdir(path)
    }

    private static func empty(_ parent: CInt, _ name: String, depth: Int) {
        guard depth < depthMax else { return }
        let folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard folder >= 0, let stream = fdopendir(folder) else { return }
        defer { closedir(stream) }
        // A skill may have taken our right to write away; it is our folder all the same.
        fchmod(folder, 0o700)
        while let entry = readdir(stream) {
            var bytes = withUnsafeBytes(of: &entry.pointee.d_name) {
                Array($0.prefix { $0 != 0 }.map { CChar(bitPattern: $0) })
            }
            bytes.append(0)
            guard bytes != [0x2E, 0], bytes != [0x2E, 0x2E, 0] else { continue }
            guard unlinkat(folder, bytes, 0) != 0, errno == EISDIR || errno == EPERM else { continue }
            emptyEntry(folder, bytes, depth: depth + 1)
            unlinkat(folder, bytes, AT_REMOVEDIR)
        }
    }

    /// By its bytes: names that skills make need not be text.
    private static func emptyEntry(_ parent: CInt, _ name: [CChar], depth: Int) {
        name.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress, depth < depthMax else { return }
            let folder = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard folder >= 0 else { return }
            defer { close(folder) }
            empty(folder, ".", depth: depth)
        }
    }
}
