import Crypto
import Glibc
import Pipeline

/// Files written whole or not at all, and on the disk when the call returns.
enum FolderFiles {
    /// Nil when there is no such file.
    static func read(_ path: String) throws(ObjectStoreError) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else {
            guard errno == ENOENT || errno == ENOTDIR else { throw FolderStore.failure("open", path) }
            return nil
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw FolderStore.failure("stat", path) }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file, buffer.baseAddress?.advanced(by: filled), buffer.count - filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw FolderStore.failure("read", path) }
            filled += count
        }
        return bytes
    }

    /// False when the file was there already; of several that try, one creates it.
    static func create(_ path: String, _ body: [UInt8], scratch: String) throws(ObjectStoreError) -> Bool {
        let draft = try write(body, in: scratch)
        defer { unlink(draft) }
        while link(draft, path) != 0 {
            if errno == EEXIST { return false }
            guard errno == ENOENT else { throw FolderStore.failure("link", path) }
            try makeFolder(above: path)
        }
        try sync(folder: folder(of: path))
        return true
    }

    static func replace(_ path: String, _ body: [UInt8], scratch: String) throws(ObjectStoreError) -> Bool {
        let draft = try write(body, in: scratch)
        while rename(draft, path) != 0 {
            guard errno == ENOENT else {
                let failure = FolderStore.failure("rename", path)
                unlink(draft)
                throw failure
            }
            try makeFolder(above: path)
        }
        try sync(folder: folder(of: path))
        return true
    }

    /// Runs the body while no other process is in `locked` for the same path.
    static func locked<Result>(
        _ path: String,
        _ body: () throws(ObjectStoreError) -> Result
    ) throws(ObjectStoreError) -> Result {
        try makeFolder(above: path)
        let folder = open(folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0, flock(folder, LOCK_EX) == 0 else { throw FolderStore.failure("lock", path) }
        defer { close(folder) }
        return try body()
    }

    /// Drafts of processes that died while writing; an hour is far longer than any put takes.
    static func removeLeftovers(in scratch: String) {
        guard let folder = opendir(scratch) else { return }
        defer { closedir(folder) }
        let old = time(nil) - 3_600
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            var status = stat()
            let path = "\(scratch)/\(name)"
            if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_mtim.tv_sec < old {
                unlink(path)
            }
        }
    }

    private static func write(_ body: [UInt8], in scratch: String) throws(ObjectStoreError) -> String {
        let path = "\(scratch)/\(Hex.encode(secureRandomBytes(16)))"
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw FolderStore.failure("open", path) }
        defer { close(file) }
        var written = 0
        while written < body.count {
            let count = body.withUnsafeBytes { buffer in
                Glibc.write(file, buffer.baseAddress?.advanced(by: written), buffer.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let failure = FolderStore.failure("write", path)
                unlink(path)
                throw failure
            }
            written += count
        }
        guard fdatasync(file) == 0 else {
            let failure = FolderStore.failure("fdatasync", path)
            unlink(path)
            throw failure
        }
        return path
    }

    private static func folder(of path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }

    private static func makeFolder(above path: String) throws(ObjectStoreError) {
        let folder = folder(of: path)
        if mkdir(folder, 0o700) == 0 { return try sync(folder: Self.folder(of: folder)) }
        if errno == EEXIST { return }
        guard errno == ENOENT else { throw FolderStore.failure("mkdir", folder) }
        try makeFolder(above: folder)
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw FolderStore.failure("mkdir", folder) }
        try sync(folder: Self.folder(of: folder))
    }

    private static func sync(folder path: String) throws(ObjectStoreError) {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw FolderStore.failure("open", path) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw FolderStore.failure("fsync", path) }
    }
}
