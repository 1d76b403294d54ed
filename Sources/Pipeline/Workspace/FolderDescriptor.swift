import Glibc

/// An open folder, and the names in it: every step is relative to a descriptor and follows no link, so that
/// what a skill left behind cannot lead outside.
final class FolderDescriptor {
    let number: Int32

    private init(number: Int32) {
        self.number = number
    }

    deinit {
        close(number)
    }

    static func open(_ path: String) throws(WorkspaceError) -> FolderDescriptor {
        let number = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard number >= 0 else {
            throw WorkspaceError(
                .inaccessible,
                "workspace \(path): \(words()): it must be a folder, not a link"
            )
        }
        return FolderDescriptor(number: number)
    }

    /// The folder of that name in this one; `path` is for the error.
    func folder(_ name: [UInt8], path: [UInt8]) throws(WorkspaceError) -> FolderDescriptor {
        let number = openat(self.number, name.cString, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard number >= 0 else { throw Self.failure("folder", path) }
        return FolderDescriptor(number: number)
    }

    /// Without following a link; nil when it is gone.
    func status(_ name: [UInt8]) -> stat? {
        var found = stat()
        guard fstatat(number, name.cString, &found, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        return found
    }

    var status: stat? {
        var found = stat()
        return fstat(number, &found) == 0 ? found : nil
    }

    /// At most `limit` names, sorted; nil when there are more.
    func names(limit: Int, path: [UInt8]) throws(WorkspaceError) -> [[UInt8]]? {
        let copy = openat(number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else {
            if copy >= 0 { close(copy) }
            throw Self.failure("folder", path)
        }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == Self.here || name == Self.above { continue }
            guard names.count < limit else { return nil }
            names.append(name)
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    private static let here = Array(".".utf8)
    private static let above = Array("..".utf8)

    static func failure(_ what: String, _ path: [UInt8]) -> WorkspaceError {
        WorkspaceError(
            errno == ENOSPC || errno == EDQUOT ? .limit : .inaccessible,
            "\(what) \(printable(path)): \(words())"
        )
    }

    static func words() -> String { String(cString: strerror(errno)) }
}

extension [UInt8] {
    /// With the NUL byte that C wants. Our names have none of their own: the kernel gave them, or they were
    /// checked.
    package var cString: [CChar] { map(CChar.init(bitPattern:)) + [0] }
}
