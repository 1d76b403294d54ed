import Foundation
import LinuxSandbox
import Pipeline
import Testing

@Suite("Watching a folder that a command may change as it likes")
struct FolderWatchTests {
    /// A folder to watch with a secret one beside it, for one test.
    private final class Ground {
        let base: String
        var folder: String { base + "/work" }
        var secret: String { base + "/secret" }

        init() throws {
            var template = Array("/tmp/penstock-watch-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
            base = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
            mkdir(folder, 0o755)
            mkdir(secret, 0o755)
            write("\(secret)/bait")
        }

        func write(_ path: String) {
            let file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
            _ = Glibc.write(file, "x", 1)
            close(file)
        }

        /// What is told until the file `end` appears, while `body` does as it likes.
        func changes(_ body: () -> Void) async throws -> [SessionChange] {
            let (stream, continuation) = AsyncStream.makeStream(of: SessionChange.self)
            let end = try FolderWatch.start(folder, "", into: continuation)
            defer { end() }
            body()
            write("\(folder)/end")
            var seen: [SessionChange] = []
            for await change in stream {
                seen.append(change)
                if change.path == "end" { break }
            }
            return seen
        }

        deinit {
            // What stays behind is in /tmp.
            try? FileManager.default.removeItem(atPath: base)
        }
    }

    @Test("no link leads the watch out, not even one that takes a folder's place just then")
    func staysInside() async throws {
        let ground = try Ground()
        let (folder, secret) = (ground.folder, ground.secret)
        symlink(secret, "\(folder)/link")
        // Whoever follows the link does see the bait.
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/link/") == ["bait"])
        mkdir("\(folder)/real", 0o755)
        ground.write("\(folder)/real/inside")

        let seen = try await ground.changes {
            // Each swap makes one of the two appear anew under the name.
            for round in 0..<2_000 {
                rename("\(folder)/real", "\(folder)/other")
                rename("\(folder)/link", "\(folder)/real")
                rename("\(folder)/other", "\(folder)/link")
                if round % 10 == 0 {
                    mkdir("\(folder)/new-\(round)", 0o755)
                    rmdir("\(folder)/new-\(round)")
                    symlink(secret, "\(folder)/new-\(round)")
                }
                ground.write("\(secret)/bait")
                ground.write("\(secret)/more-\(round)")
            }
        }

        #expect(seen.count > 4_000)
        #expect(!seen.contains { $0.path.contains("bait") || $0.path.contains("more-") })
    }

    @Test("too many folders are told as what is not watched")
    func tellsOfTooMany() async throws {
        let ground = try Ground()
        let folder = ground.folder

        let seen = try await ground.changes {
            for number in 0..<1_100 { mkdir("\(folder)/\(number)", 0o755) }
        }

        #expect(seen.count { $0.kind == .created } == 1_101)
        #expect(seen.count { $0.kind == .incomplete } == 1_100 - 1_023)
    }

    @Test("a reader that is too slow is told that changes were lost, once it reads again")
    func tellsOfLoss() async throws {
        let ground = try Ground()
        let (stream, continuation) = AsyncStream.makeStream(
            of: SessionChange.self,
            bufferingPolicy: .bufferingOldest(10)
        )
        let end = try FolderWatch.start(ground.folder, "", into: continuation)
        defer { end() }

        for number in 0..<100 { ground.write("\(ground.folder)/\(number)") }
        var seen: [SessionChange] = []
        for await change in stream {
            seen.append(change)
            if change.kind == .incomplete { break }
        }

        #expect(seen.last == SessionChange(.incomplete, ""))
    }

    @Test("one file is watched by its name, also when another takes its place")
    func watchesFile() async throws {
        let ground = try Ground()
        ground.write("\(ground.folder)/file")
        let (stream, continuation) = AsyncStream.makeStream(of: SessionChange.self)
        let end = try FolderWatch.start(ground.folder, "file", into: continuation)
        defer { end() }
        var changes = stream.makeAsyncIterator()

        ground.write("\(ground.folder)/beside")
        ground.write("\(ground.folder)/file")
        let first = await changes.next()
        rename("\(ground.folder)/beside", "\(ground.folder)/file")
        let second = await changes.next()

        #expect(first == SessionChange(.changed, "file"))
        #expect(second == SessionChange(.created, "file"))
        #expect(throws: SandboxError.self) {
            try FolderWatch.start(ground.folder, "none", into: continuation)
        }
    }
}
