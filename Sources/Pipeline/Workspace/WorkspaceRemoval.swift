import Glibc

/// Removes a folder that a skill may have filled with anything: by descriptors, following no link, and with
/// three of them open however deep it is.
///
/// A folder's own folders are moved up to the top before it is removed, so that depth costs nothing.
package enum WorkspaceRemoval {
    /// The folder with all in it; links are removed, never followed.
    package static func remove(_ path: String) {
        guard let top = Folder(AT_FDCWD, Array(path.utf8CString)) else { return }
        var moved = 0
        while true {
            let names = top.names(most: 4_096)
            var isStuck = true
            for name in names where top.unlink(name) || flatten(name, in: top, &moved) { isStuck = false }
            // Nothing left, or nothing that we may remove.
            if names.isEmpty || isStuck { break }
        }
        rmdir(path)
    }

    /// False when nothing of it could be removed.
    private static func flatten(_ name: [CChar], in top: borrowing Folder, _ moved: inout Int) -> Bool {
        guard let folder = Folder(top.number, name) else { return false }
        var hasChanged = false
        while true {
            let names = folder.names(most: 4_096)
            var isStuck = true
            for inner in names where folder.unlink(inner) || move(inner, from: folder, to: top, &moved) {
                isStuck = false
            }
            if names.isEmpty || isStuck { break }
            hasChanged = true
        }
        return unlinkat(top.number, name, AT_REMOVEDIR) == 0 || hasChanged
    }

    private static func move(
        _ name: [CChar],
        from folder: borrowing Folder,
        to top: borrowing Folder,
        _ moved: inout Int
    ) -> Bool {
        // Moving a folder writes into it, and the skill may have taken that right away.
        fchmodat(folder.number, name, 0o700, 0)
        for _ in 0..<1_000 {
            moved += 1
            let new = Array(".moved-\(moved)".utf8CString)
            if renameat(folder.number, name, top.number, new) == 0 { return true }
            guard [EEXIST, ENOTEMPTY, ENOTDIR].contains(errno) else { return false }
        }
        return false
    }

    private struct Folder: ~Copyable {
        let number: Int32

        /// Nil for whatever is no folder.
        init?(_ parent: Int32, _ name: [CChar]) {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            var number = openat(parent, name, flags)
            if number < 0, errno == EACCES {
                fchmodat(parent, name, 0o700, 0)
                number = openat(parent, name, flags)
            }
            guard number >= 0 else { return nil }
            self.number = number
            // A skill may have taken our right to write away; it is our folder all the same.
            fchmod(number, 0o700)
        }

        deinit { close(number) }

        func unlink(_ name: [CChar]) -> Bool { unlinkat(number, name, 0) == 0 }

        /// By their bytes: names that skills make need not be text.
        func names(most: Int) -> [[CChar]] {
            let copy = openat(number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard copy >= 0, let stream = fdopendir(copy) else {
                if copy >= 0 { close(copy) }
                return []
            }
            defer { closedir(stream) }
            var names: [[CChar]] = []
            while names.count < most, let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    Array($0.prefix { $0 != 0 }.map { CChar(bitPattern: $0) }) + [0]
                }
                if name != [0x2E, 0], name != [0x2E, 0x2E, 0] { names.append(name) }
            }
            return names
        }
    }
}
