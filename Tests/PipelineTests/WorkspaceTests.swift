import Crypto
import Foundation
import JSON
import Synchronization
import Testing

@testable import Pipeline

@Suite("Workspaces")
struct WorkspaceTests {
    /// Blobs by hash, as the object store would hold them.
    final class Blobs: Sendable {
        let byHash = Mutex<[String: [UInt8]]>([:])

        func get(_ hash: String) throws -> [UInt8] {
            guard let bytes = byHash.withLock({ $0[hash] }) else { throw POSIXError(.ENOENT) }
            return bytes
        }
    }

    private func folder() throws -> String {
        var template = Array("/tmp/penstock-workspace-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private func remove(_ folder: String) {
        try? FileManager.default.removeItem(atPath: folder)
    }

    private func write(_ text: String, _ path: String, mode: mode_t = 0o644) throws {
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        chmod(path, mode)
    }

    private func capture(
        _ folder: String,
        limits: WorkspaceLimits = .standard,
        known: Set<String> = [],
        into blobs: Blobs = Blobs()
    ) async throws -> WorkspaceCapture.Result {
        try await WorkspaceCapture(limits: limits).capture(folder, known: known) { hash, bytes in
            blobs.byHash.withLock { $0[hash] = bytes }
        }
    }

    @Test("what is captured is restored, and captured again as the same tree")
    func roundTrip() async throws {
        let (source, target) = (try folder(), try folder())
        defer { [source, target].forEach(remove) }
        try FileManager.default.createDirectory(atPath: source + "/a/b", withIntermediateDirectories: true)
        try write("same", source + "/a/b/one")
        try write("same", source + "/a.b", mode: 0o755)
        try write("", source + "/empty", mode: 0o400)
        symlink("/etc/passwd", source + "/a/out")
        let odd: [CChar] = Array((source + "/").utf8CString.dropLast()) + [-1, 10, 0]
        close(open(odd, O_CREAT | O_WRONLY, 0o600))
        let blobs = Blobs()

        let first = try await capture(source, into: blobs)
        let read = try WorkspaceTree(json: first.tree.json)
        try await WorkspaceRestore(limits: .standard).restore(read, into: target) { try blobs.get($0) }
        let second = try await capture(target)

        #expect(read == first.tree)
        #expect(second.tree == first.tree)
        #expect(first.refused == [])
        #expect(first.tree.entries.count == 7)
        #expect(first.tree.byteCount == 8)
        #expect(first.tree.blobs.count == 2)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: target + "/a/out") == "/etc/passwd")
        #expect(FileManager.default.isExecutableFile(atPath: target + "/a.b"))
    }

    @Test("only new blobs are stored, each once")
    func storesNewBlobsOnly() async throws {
        let source = try folder()
        defer { remove(source) }
        for name in ["a", "b", "c"] { try write(name == "c" ? "new" : "old", source + "/" + name) }
        let stored = Mutex<[String]>([])

        _ = try await WorkspaceCapture(limits: .standard).capture(
            source,
            known: [SHA256.hex(Array("old".utf8))]
        ) { hash, bytes in
            #expect(SHA256.hex(bytes) == hash)
            stored.withLock { $0.append(hash) }
        }

        #expect(stored.withLock { $0 } == [SHA256.hex(Array("new".utf8))])
    }

    @Test("pipes, sockets and devices are left out and named")
    func refusesSpecialFiles() async throws {
        let source = try folder()
        defer { remove(source) }
        mkfifo(source + "/pipe", 0o600)
        let name = sockaddr_un.bound(to: source + "/socket")
        defer { close(name) }
        var expected = ["pipe", "socket"]
        if mknod(source + "/device", S_IFCHR | 0o600, 1 << 8 | 3) == 0 { expected.insert("device", at: 0) }

        let result = try await capture(source)

        #expect(result.refused.map(\.path) == expected)
        #expect(result.tree.entries == [])
    }

    @Test("a file with two names here becomes two files; with one elsewhere it is left out and named")
    func hardLinks() async throws {
        let (source, elsewhere) = (try folder(), try folder())
        defer { [source, elsewhere].forEach(remove) }
        try write("mine", source + "/one")
        mkdir(source + "/sub", 0o700)
        link(source + "/one", source + "/sub/two")
        try write("somebody else's", elsewhere + "/secret")
        link(elsewhere + "/secret", source + "/stolen")

        let result = try await capture(source)

        #expect(
            result.tree.entries.map { String(decoding: $0.path, as: UTF8.self) } == ["one", "sub", "sub/two"]
        )
        #expect(result.tree.blobs == [SHA256.hex(Array("mine".utf8))])
        #expect(result.refused.map(\.path) == ["stolen"])
    }

    @Test("names of control and bidi characters, of another case or of no text come back as they were")
    func oddNames() async throws {
        let (source, target) = (try folder(), try folder())
        defer { [source, target].forEach(remove) }
        let names: [[UInt8]] = [
            Array("a\u{202E}gpj.exe".utf8), Array("\u{1B}[2J".utf8), Array("README".utf8),
            Array("readme".utf8),
            Array("e\u{301}".utf8), Array("\u{E9}".utf8), [0xFF, 0xFE], Array(" ".utf8), Array("-rf".utf8),
            Array("a\nb".utf8), [UInt8](repeating: 0x7A, count: 255),
        ]
        for name in names {
            let path = Array(source.utf8CString.dropLast()) + [47] + name.map(CChar.init(bitPattern:)) + [0]
            close(open(path, O_CREAT | O_WRONLY, 0o600))
        }
        mkfifo(source + "/p\u{1B}[31m\u{202E}", 0o600)

        let first = try await capture(source)
        let read = try WorkspaceTree(json: first.tree.json)
        try await WorkspaceRestore(limits: .standard).restore(read, into: target) { _ in [] }

        #expect(try await capture(target).tree == first.tree)
        #expect(Set(first.tree.entries.map(\.path)) == Set(names))
        #expect(first.refused.map(\.path) == ["p\\x1b[31m\\xe2\\x80\\xae"])
    }

    @Test("folders that somebody swaps for links meanwhile never lead outside")
    func swaps() async throws {
        let (source, outside) = (try folder(), try folder())
        defer { [source, outside].forEach(remove) }
        try write("outside", outside + "/file")
        mkdir(source + "/real", 0o700)
        try write("inside", source + "/real/file")
        let isOver = Atomic(false)
        let swapper = Thread {
            while !isOver.load(ordering: .relaxed) {
                rename(source + "/real", source + "/away")
                symlink(outside, source + "/real")
                unlink(source + "/real")
                rename(source + "/away", source + "/real")
            }
        }
        swapper.start()
        let secret = SHA256.hex(Array("outside".utf8))
        var whole = 0
        for _ in 0..<200 {
            // A folder that is gone when it is opened ends the capture; that is what it should do.
            guard let result = try? await capture(source) else { continue }
            #expect(!result.tree.blobs.contains(secret))
            whole += result.tree.blobs.isEmpty ? 0 : 1
        }
        isOver.store(true, ordering: .relaxed)
        while !swapper.isFinished { await Task.yield() }
        #expect(whole > 0)
    }

    @Test("a sparse file within the limits comes back sparse")
    func sparse() async throws {
        let (source, target) = (try folder(), try folder())
        defer { [source, target].forEach(remove) }
        _ = FileManager.default.createFile(atPath: source + "/holes", contents: Data("start".utf8))
        truncate(source + "/holes", 32 << 20)
        let blobs = Blobs()

        let first = try await capture(source, into: blobs)
        try await WorkspaceRestore(limits: .standard).restore(first.tree, into: target) { try blobs.get($0) }

        var status = stat()
        #expect(stat(target + "/holes", &status) == 0 && status.st_size == 32 << 20)
        #expect(status.st_blocks * 512 < 1 << 20)
        #expect(try await capture(target).tree == first.tree)
    }

    @Test("blobs are read side by side, each once in a stretch, and no more than a few at a time")
    func parallel() async throws {
        let (source, target) = (try folder(), try folder())
        defer { [source, target].forEach(remove) }
        for number in 0..<100 { try write("file \(number / 2)", source + "/f\(number)") }
        let blobs = Blobs()
        let first = try await capture(source, into: blobs)
        let state = Mutex((now: 0, most: 0, calls: 0))

        try await WorkspaceRestore(limits: .standard).restore(first.tree, into: target) { hash in
            state.withLock {
                $0.now += 1
                $0.calls += 1
                $0.most = max($0.most, $0.now)
            }
            for _ in 0..<20 { await Task.yield() }
            state.withLock { $0.now -= 1 }
            return try blobs.get(hash)
        }

        #expect(try await capture(target).tree == first.tree)
        let seen = state.withLock { $0 }
        #expect(seen.most > 1 && seen.most <= 16 && seen.calls <= 100)
    }

    @Test("a tree deeper than there are descriptors, and locked, is removed all the same")
    func removesDeepTrees() throws {
        let top = try folder()
        var folder = open(top, O_RDONLY | O_DIRECTORY)
        for level in 0..<5_000 {
            #expect(mkdirat(folder, "d", 0o700) == 0)
            close(openat(folder, "file", O_CREAT | O_WRONLY, 0o600))
            symlinkat("/etc", folder, "link")
            let next = openat(folder, "d", O_RDONLY | O_DIRECTORY)
            if level % 100 == 0 { fchmod(folder, 0o000) }
            close(folder)
            folder = next
        }
        close(folder)

        WorkspaceRemoval.remove(top)

        #expect(access(top, F_OK) != 0)
        #expect(access("/etc/passwd", F_OK) == 0)
    }

    @Test("links are kept as links, and a folder behind one is not entered")
    func followsNoLink() async throws {
        let source = try folder()
        defer { remove(source) }
        symlink("/etc", source + "/etc")
        symlink(".", source + "/loop")
        symlink("/proc/self/fd/0", source + "/magic")

        let result = try await capture(source)

        #expect(result.tree.entries.count == 3)
        #expect(result.tree.blobs.isEmpty)
        await #expect(throws: WorkspaceError.self) { try await capture(source + "/etc") }
    }

    static let excesses: [(name: String, fill: @Sendable (String) -> Void)] = [
        (
            "bytes",
            { path in
                for i in 0..<3 {
                    _ = FileManager.default.createFile(atPath: "\(path)/\(i)", contents: Data(count: 50))
                }
            }
        ),
        (
            "file bytes",
            { path in _ = FileManager.default.createFile(atPath: path + "/f", contents: Data(count: 101)) }
        ),
        (
            "a sparse file",
            { path in
                _ = FileManager.default.createFile(atPath: path + "/f", contents: nil)
                truncate(path + "/f", 1 << 40)
            }
        ),
        ("entries", { path in for i in 0..<11 { mkdir("\(path)/\(i)", 0o700) } }),
        (
            "nested entries",
            { path in
                for i in 0..<4 {
                    mkdir("\(path)/\(i)", 0o700); for j in 0..<2 { mkdir("\(path)/\(i)/\(j)", 0o700) }
                }
            }
        ),
        (
            "depth",
            { path in
                var path = path
                for _ in 0..<5 {
                    path += "/d"
                    mkdir(path, 0o700)
                }
            }
        ),
    ]

    @Test("too much of anything is refused", arguments: excesses.map(\.name))
    func limits(name: String) async throws {
        let source = try folder()
        defer { remove(source) }
        Self.excesses.first { $0.name == name }?.fill(source)
        let limits = WorkspaceLimits(bytes: 120, fileBytes: 100, entries: 10, depth: 4)

        let error = await #expect(throws: WorkspaceError.self) { try await capture(source, limits: limits) }

        #expect(error?.kind == .limit, "\(error?.detail ?? "")")
    }

    static let hash = String(repeating: "a", count: 64)
    static let wrongTrees: [(name: String, entries: [(String, WorkspaceEntry.Node)])] = [
        ("climbs", [("..", .directory(mode: 0o755)), ("../x", .symlink(target: [1]))]),
        ("climbs by a name", [("a/../../x", .symlink(target: [1]))]),
        ("is absolute", [("/etc/x", .symlink(target: [1]))]),
        ("has an empty name", [("", .directory(mode: 0o755))]),
        ("has a NUL byte", [("a\0b", .directory(mode: 0o755))]),
        (
            "writes through a link",
            [("a", .symlink(target: Array("/tmp".utf8))), ("a/x", .symlink(target: [1]))]
        ),
        ("lacks a folder", [("a/x", .symlink(target: [1]))]),
        ("has a path twice", [("a", .directory(mode: 0o755)), ("a", .directory(mode: 0o755))]),
        ("sets user id", [("a", .file(mode: 0o4755, size: 0, sha256: hash))]),
        ("has a negative size", [("a", .file(mode: 0o644, size: -1, sha256: hash))]),
        (
            "overflows",
            [
                ("a", .file(mode: 0o644, size: .max, sha256: hash)),
                ("b", .file(mode: 0o644, size: .max, sha256: hash)),
            ]
        ),
        ("has no hash", [("a", .file(mode: 0o644, size: 1, sha256: "../../etc/passwd"))]),
        ("has an endless name", [(String(repeating: "n", count: 256), .directory(mode: 0o755))]),
    ]

    @Test(
        "a tree that no capture makes is refused before anything is written",
        arguments: wrongTrees.map(\.name)
    )
    func refusesWrongTrees(name: String) async throws {
        let target = try folder()
        defer { remove(target) }
        let entries = try #require(Self.wrongTrees.first { $0.name == name }).entries
        let tree = WorkspaceTree(entries: entries.map { WorkspaceEntry(path: Array($0.0.utf8), node: $0.1) })

        await #expect(throws: WorkspaceError.self) {
            try await WorkspaceRestore(limits: .standard).restore(tree, into: target) { _ in [] }
        }

        #expect(try FileManager.default.contentsOfDirectory(atPath: target) == [])
    }

    @Test("a blob with other bytes is corrupt, and a folder with something in it is refused")
    func checksBlobs() async throws {
        let target = try folder()
        defer { remove(target) }
        let node = WorkspaceEntry.Node.file(mode: 0o644, size: 1, sha256: SHA256.hex([1]))
        let tree = WorkspaceTree(entries: [WorkspaceEntry(path: [97], node: node)])
        let restore = WorkspaceRestore(limits: .standard)

        let corrupt = await #expect(throws: WorkspaceError.self) {
            try await restore.restore(tree, into: target) { _ in [2] }
        }
        try await restore.restore(tree, into: target) { _ in [1] }
        let full = await #expect(throws: WorkspaceError.self) {
            try await restore.restore(tree, into: target) { _ in [1] }
        }

        #expect(corrupt?.kind == .corrupt)
        #expect(full?.kind == .invalid)
    }

    @Test("what is unreadable to its owner is given back to it")
    func readsWhatWasLocked() async throws {
        let source = try folder()
        defer { remove(source) }
        mkdir(source + "/locked", 0o700)
        try write("x", source + "/locked/file", mode: 0)
        chmod(source + "/locked", 0)

        let result = try await capture(source)

        #expect(result.tree.entries.map(\.node).first == .directory(mode: 0o700))
        #expect(result.tree.byteCount == 1)
    }
}

extension sockaddr_un {
    /// A socket that lies at the path.
    fileprivate static func bound(to path: String) -> Int32 {
        let number = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            for (index, byte) in path.utf8.enumerated() { bytes[index] = byte }
        }
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(number, address, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return number
    }
}
