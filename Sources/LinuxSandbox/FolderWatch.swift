import CLinux
import Glibc
package import Network
package import Pipeline

/// Tells of changes below a folder of the host that commands in sandboxes write to, by inotify.
///
/// A folder is opened step by step from the first one, and no step follows a link: what a command does in the
/// meantime may hide a folder from us, but never lead us out. Folders are known by their watch's number.
package final class FolderWatch: EventLoopHandler, @unchecked Sendable {
    // Safe to share: after `init` all happens on the loop's thread.
    private struct Folder {
        /// Nil for the first.
        var parent: Int32?
        var name: [UInt8]
    }

    private struct Place: Hashable {
        let folder: Int32
        let name: [UInt8]
    }

    /// Watched at a time, each costs the kernel about 1 KiB.
    private static let foldersMax = 1_024
    private static let depthMax = 128
    /// Looked at when a folder appears, with all below it.
    private static let entriesMax = 20_000
    private static let wanted =
        UInt32(IN_CREATE) | UInt32(IN_MODIFY) | UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM)
        | UInt32(IN_MOVED_TO) | UInt32(IN_ONLYDIR) | UInt32(IN_EXCL_UNLINK)
    // A loop lives as long as the process, so all watches share one.
    private static let loop = EventLoop(name: "folder-watch")

    private let inotify: Int32
    private let top: Int32
    private let prefix: [[UInt8]]
    /// The one file in the first folder that is asked for; nil for all.
    private let file: [UInt8]?
    private let changes: AsyncStream<SessionChange>.Continuation
    private var first: Int32 = -1
    private var folders: [Int32: Folder] = [:]
    private var numbers: [Place: Int32] = [:]
    /// Found when their folder appeared; the kernel's own word of them may still come.
    private var told: Set<Place> = []
    /// Moved away; where to comes next, if it is to a folder that we know.
    private var leaving: (cookie: UInt32, place: Place, isFolder: Bool, sweeps: Int)?
    private var last: SessionChange?
    private var hasLost = false
    private var isClosed = false

    /// Begins to watch what is at `path`, relative and with no `..`, below `folder`: a folder with all below
    /// it, or a file. Returns what ends it, to be called once from any thread; the stream ends by itself when
    /// the folder is gone.
    package static func start(
        _ folder: String,
        _ path: String,
        into changes: AsyncStream<SessionChange>.Continuation
    ) throws(SandboxError) -> @Sendable () -> Void {
        let watch = try FolderWatch(folder, path, changes)
        loop.execute {
            // As when it is gone: its reader sees the end.
            if !watch.isClosed, !loop.add(watch.inotify, .readable, watch) { changes.finish() }
        }
        return { loop.execute { watch.close() } }
    }

    private init(
        _ folder: String,
        _ path: String,
        _ changes: AsyncStream<SessionChange>.Continuation
    ) throws(SandboxError) {
        self.changes = changes
        var names = path.split(separator: "/").map { Array($0.utf8) }.filter { $0 != Array(".".utf8) }
        let root = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard root >= 0 else { throw Self.failure(path) }
        defer { Glibc.close(root) }
        var found = Self.open(names, from: root)
        var file: [UInt8]?
        if found < 0, errno == ENOTDIR, let name = names.last {
            found = Self.open(Array(names.dropLast()), from: root)
            var status = stat()
            guard found >= 0, fstatat(found, name.cString, &status, AT_SYMLINK_NOFOLLOW) == 0,
                status.st_mode & S_IFMT == S_IFREG
            else {
                if found >= 0 { Glibc.close(found) }
                throw SandboxError(.invalid, "\(path): name a folder or a file, not a link")
            }
            names.removeLast()
            file = name
        }
        guard found >= 0 else { throw Self.failure(path) }
        inotify = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        (top, prefix, self.file) = (found, names, file)
        guard inotify >= 0 else {
            let words = String(cString: strerror(errno))
            Glibc.close(top)
            throw SandboxError(.busy, "no watch: \(words): raise fs.inotify.max_user_instances")
        }
        guard let first = add(nil, []) else {
            let words = String(cString: strerror(errno))
            Glibc.close(top)
            Glibc.close(inotify)
            throw SandboxError(.busy, "\(path): no watch: \(words): raise fs.inotify.max_user_watches")
        }
        self.first = first
        if file == nil { look(below: first, isNew: false) }
    }

    private static func failure(_ path: String) -> SandboxError {
        SandboxError(.invalid, "\(path): \(String(cString: strerror(errno))): name a folder that is there")
    }

    private static func open(_ names: [[UInt8]], from root: Int32) -> Int32 {
        var current = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        for name in names where current >= 0 {
            let next = openat(current, name.cString, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            let code = errno
            Glibc.close(current)
            errno = code
            current = next
        }
        return current
    }

    private func close() {
        guard !isClosed else { return }
        isClosed = true
        Self.loop.remove(inotify)
        Glibc.close(inotify)
        Glibc.close(top)
    }

    // MARK: Events

    package func ready(_ readiness: Readiness) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while !isClosed {
            let count = read(inotify, &buffer, buffer.count)
            guard count > 0 else { break }
            buffer.withUnsafeBytes { handle(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        told = []
        last = nil
    }

    package func sweep(_ now: ContinuousClock.Instant) {
        guard !isClosed else { return }
        if hasLost { tellLoss() }
        guard let sweeps = leaving?.sweeps else { return }
        leaving?.sweeps += 1
        if sweeps > 0 { settle() }
    }

    private func handle(_ bytes: UnsafeRawBufferPointer) {
        let size = MemoryLayout<inotify_event>.size
        var at = 0
        while at + size <= bytes.count, !isClosed {
            let event = bytes.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
            let name = Array(bytes[(at + size)...].prefix(Int(event.len)).prefix { $0 != 0 })
            at += size + Int(event.len)
            handle(event, name)
        }
    }

    private func handle(_ event: inotify_event, _ name: [UInt8]) {
        func has(_ flag: some BinaryInteger) -> Bool { event.mask & UInt32(truncatingIfNeeded: flag) != 0 }
        if has(IN_Q_OVERFLOW) { return overflow() }
        if has(IN_IGNORED) { return forget(event.wd) }
        guard folders[event.wd] != nil, !name.isEmpty, file == nil || file == name else { return }
        let place = Place(folder: event.wd, name: name)
        let isFolder = has(IN_ISDIR)
        if has(IN_MOVED_TO), let left = leaving, left.cookie == event.cookie {
            leaving = nil
            return moved(left.place, to: place, isFolder)
        }
        settle()
        if has(IN_MOVED_FROM) {
            leaving = (event.cookie, place, isFolder, 0)
        } else if has(IN_DELETE) {
            tell(.deleted, place)
        } else if has(IN_MODIFY) {
            tell(.changed, place)
        } else if told.remove(place) == nil {
            appeared(place, isFolder)
        }
    }

    private func appeared(_ place: Place, _ isFolder: Bool) {
        tell(.created, place)
        guard isFolder, file == nil else { return }
        if let number = follow(place) { look(below: number, isNew: true) }
    }

    private func moved(_ source: Place, to target: Place, _ isFolder: Bool) {
        let path = text(source)
        if isFolder, let number = numbers.removeValue(forKey: source) {
            if let replaced = numbers[target] { forget(replaced) }
            folders[number] = Folder(parent: target.folder, name: target.name)
            numbers[target] = number
        }
        tell(.moved(from: path), target)
    }

    /// What left did not arrive: it is gone, with all below it.
    private func settle() {
        guard let left = leaving else { return }
        leaving = nil
        tell(.deleted, left.place)
        guard let number = numbers[left.place] else { return }
        var gone = [number]
        while let next = gone.popLast() {
            gone += folders.filter { $0.value.parent == next }.map(\.key)
            inotify_rm_watch(inotify, next)
            forget(next)
        }
    }

    private func overflow() {
        settle()
        tell(SessionChange(.incomplete, text(prefix)))
        if file == nil { look(below: first, isNew: false) }
    }

    private func forget(_ number: Int32) {
        if number == first {
            changes.finish()
            return close()
        }
        guard let folder = folders.removeValue(forKey: number), let parent = folder.parent else { return }
        let place = Place(folder: parent, name: folder.name)
        if numbers[place] == number { numbers[place] = nil }
    }

    // MARK: Folders

    /// Names from the first folder on; nil when one on the way is forgotten.
    private func names(of number: Int32) -> [[UInt8]]? {
        var names: [[UInt8]] = []
        var current = number
        while let folder = folders[current], names.count <= Self.depthMax {
            guard let parent = folder.parent else { return names.reversed() }
            names.append(folder.name)
            current = parent
        }
        return nil
    }

    /// Watches the folder of that name; nil with `errno` when it can not be.
    private func add(_ parent: Int32?, _ name: [UInt8]) -> Int32? {
        guard folders.count < Self.foldersMax else {
            errno = ENOSPC
            return nil
        }
        var path: [[UInt8]] = []
        if let parent {
            guard let above = names(of: parent), above.count < Self.depthMax else {
                errno = ENAMETOOLONG
                return nil
            }
            path = above + [name]
        }
        let folder = Self.open(path, from: top)
        guard folder >= 0 else { return nil }
        let number = inotify_add_watch(inotify, "/proc/self/fd/\(folder)", Self.wanted)
        let code = errno
        Glibc.close(folder)
        errno = code
        guard number >= 0 else { return nil }
        // One that is known was moved while we looked.
        if number != first {
            folders[number] = Folder(parent: parent, name: name)
            if let parent { numbers[Place(folder: parent, name: name)] = number }
        }
        return number
    }

    /// As `add`; says so when what is below is not watched.
    private func follow(_ place: Place) -> Int32? {
        if let number = add(place.folder, place.name) { return number }
        // Gone again, or another thing by now: the next event tells.
        if ![ENOENT, ENOTDIR, ELOOP].contains(errno) { tell(.incomplete, place) }
        return nil
    }

    /// Watches all folders below; where they are new, what is in them is new too.
    private func look(below number: Int32, isNew: Bool) {
        var open = [number]
        var count = 0
        while let current = open.popLast() {
            for (name, isFolder) in entries(of: current) {
                count += 1
                guard count <= Self.entriesMax else {
                    return tell(SessionChange(.incomplete, text(prefix + (names(of: current) ?? []))))
                }
                let place = Place(folder: current, name: name)
                if isNew, told.insert(place).inserted { tell(.created, place) }
                if isFolder, let next = follow(place) { open.append(next) }
            }
        }
    }

    private func entries(of number: Int32) -> [(name: [UInt8], isFolder: Bool)] {
        guard let names = names(of: number) else { return [] }
        let folder = Self.open(names, from: top)
        guard folder >= 0 else { return [] }
        guard let stream = fdopendir(folder) else {
            Glibc.close(folder)
            return []
        }
        defer { closedir(stream) }
        var found: [(name: [UInt8], isFolder: Bool)] = []
        while let entry = readdir(stream), found.count <= Self.entriesMax {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == Array(".".utf8) || name == Array("..".utf8) { continue }
            var status = stat()
            let isThere = fstatat(folder, name.cString, &status, AT_SYMLINK_NOFOLLOW) == 0
            found.append((name, isThere && status.st_mode & S_IFMT == S_IFDIR))
        }
        return found
    }

    // MARK: Telling

    private func text(_ names: [[UInt8]]) -> String {
        names.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
    }

    private func text(_ place: Place) -> String {
        text(prefix + (names(of: place.folder) ?? []) + [place.name])
    }

    private func tell(_ kind: SessionChange.Kind, _ place: Place) { tell(SessionChange(kind, text(place))) }

    private func tell(_ change: SessionChange) {
        if hasLost { tellLoss() }
        guard !hasLost, change != last || change.kind != .changed else { return }
        last = change
        if case .dropped = changes.yield(change) { hasLost = true }
    }

    private func tellLoss() {
        if case .enqueued = changes.yield(SessionChange(.incomplete, text(prefix))) { hasLost = false }
    }
}
