import Adapters
import Crypto
import Foundation
import JSON
import Pipeline
import Testing
import Topics

/// `penstock conversations` and `penstock replay`, as people and scripts meet them.
@Suite("penstock conversations, replay", .serialized)
struct StateCommandTests {
    private static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "penstock")

    /// A data folder with one conversation, answered by the running program, and stopped again.
    private struct Machine {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "penstock-state-\(UUID().uuidString)"
        )
        let id = "webhook:/cli:cli"

        init() throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try "data: \(folder.path)/data\nhttp: { port: 0 }\n".write(
                toFile: folder.path + "/penstock.yaml",
                atomically: true,
                encoding: .utf8
            )
        }

        func remove() { try? FileManager.default.removeItem(at: folder) }

        func process(_ arguments: [String]) -> Process {
            let process = Process()
            process.executableURL = StateCommandTests.program
            process.arguments = arguments + ["--config", folder.path + "/penstock.yaml"]
            return process
        }

        func run(_ arguments: String...) throws -> (status: Int32, output: String, error: String) {
            let process = process(arguments)
            let (output, error) = (Pipe(), Pipe())
            process.standardOutput = output
            process.standardError = error
            try process.run()
            let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            let words = String(decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            return (process.terminationStatus, text, words)
        }

        /// Sends each text to the program and waits for its answer, in one run of it.
        func talk(_ texts: String..., in conversation: String = "cli") throws {
            let service = process(["run", "--log-level", "warning"])
            service.standardOutput = FileHandle.nullDevice
            try service.run()
            defer {
                kill(service.processIdentifier, SIGTERM)
                service.waitUntilExit()
            }
            try? FileManager.default.removeItem(atPath: folder.path + "/data/http.port")
            for text in texts {
                var answer = (status: Int32(-1), output: "", error: "")
                let event = UUID().uuidString
                for _ in 0..<120 where answer.status != 0 {
                    answer = try run("send", "--id", event, "--conversation", conversation, text)
                    if answer.status != 0 { Thread.sleep(forTimeInterval: 0.25) }
                }
                #expect(answer.status == 0, "\(text): \(answer.error)")
            }
        }

        func show(_ id: String, _ more: String...) throws -> JSONValue {
            let process = process(["conversations", "show", id, "--json"] + more)
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            let data = output.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return try JSONValue(json: Array(data.dropLast()))
        }
    }

    @Test("a turn is shown, forked from, lost with the store, and made again from the log")
    func travel() throws {
        let machine = try Machine()
        defer { machine.remove() }
        try machine.talk("/remember color blue", "/remember color green", "/recall color")
        let newest = try machine.show(machine.id)
        let second = try machine.show(machine.id, "--turn", "1")
        #expect(newest["turn"] == .integer(3) && newest["memory"]?["color"] == "green")
        #expect(second["memory"]?["color"] == "blue" && second["transcript"]?.arrayValue?.isEmpty == false)
        let nothing = try machine.run("conversations", "show", machine.id, "--turn", "9")
        #expect(nothing.status == 1 && nothing.error.contains("its newest is 3"), "\(nothing.error)")

        let fork = try machine.run(
            "conversations",
            "fork",
            machine.id,
            "--turn",
            "1",
            "--to",
            "webhook:/cli:again"
        )
        #expect(fork.status == 0, "\(fork.error)")
        try machine.talk("/recall color", in: "again")
        let forked = try machine.show("webhook:/cli:again")
        #expect(forked["turn"] == .integer(2) && forked["memory"]?["color"] == "blue")
        #expect(try machine.show(machine.id) == newest)

        try FileManager.default.removeItem(atPath: machine.folder.path + "/data/store")
        let refused = try machine.run("run")
        #expect(refused.status == 1 && refused.error.contains("penstock replay rebuild"), "\(refused.error)")
        let rebuilt = try machine.run("replay", "rebuild", "--json")
        #expect(rebuilt.status == 0 && rebuilt.output.contains("\"created\":5"), "\(rebuilt)")
        #expect(try machine.show(machine.id) == newest)
        #expect(try machine.show("webhook:/cli:again") == forked)
        try machine.talk("/recall color")
        #expect(try machine.show(machine.id)["turn"] == .integer(4))
    }

    @Test("files are listed, given byte for byte, and guessed at; names are shown without their tricks")
    func files() async throws {
        let machine = try Machine()
        defer { machine.remove() }
        _ = try machine.run("topics", "apply")
        let store = TurnStore(try FolderStore(folder: machine.folder.path + "/data/store"))
        let bytes: [UInt8] = [0, 255, 10, 13, 27]
        let hash = try await store.putBlob(bytes)
        let tree = WorkspaceTree(entries: [
            WorkspaceEntry(path: Array("notes".utf8), node: .directory(mode: 0o755)),
            WorkspaceEntry(
                path: Array("notes/a.bin".utf8),
                node: .file(mode: 0o644, size: bytes.count, sha256: hash)
            ),
            WorkspaceEntry(
                path: Array("\u{1B}[2J\u{202E}x".utf8),
                node: .symlink(target: Array("/etc".utf8))
            ),
        ])
        var slot = Slot()
        slot.outcome = .answered
        slot.state = ConversationState(conversation: "c")
        slot.state.turn = 1
        slot.state.workspace = try await store.putBlob(tree.json)
        slot.stateHash = slot.state.hash
        #expect(try await store.seal(slot, in: ConversationKeys("c")))

        let list = try machine.run("conversations", "files", "c")
        let json = try machine.run("conversations", "files", "c", "notes/", "--json")
        let raw = try machine.run("conversations", "files", "c", "notes/a.bin")
        let typo = try machine.run("conversations", "files", "c", "notes/a.bim")
        let link = try machine.run("conversations", "files", "c", "\u{1B}[2J\u{202E}x")

        #expect(list.status == 0 && list.output.contains("notes/a.bin"))
        #expect(list.output.contains("\\x1b[2J") && !list.output.utf8.contains(27))
        #expect(json.output.contains(hash) && json.output.split(separator: "\n").count == 1)
        #expect(raw.status == 0 && Array(raw.output.unicodeScalars).count == 5)
        #expect(typo.status == 1 && typo.error.contains("did you mean notes/a.bin?"), "\(typo.error)")
        #expect(link.status == 1 && link.error.contains("is a link to /etc"))
    }

    @Test("gc says what it would do, and wants to know how much to keep")
    func sweeps() throws {
        let machine = try Machine()
        defer { machine.remove() }
        try machine.talk("/remember a 1", "/remember a 2", "/remember a 3")
        let without = try machine.run("conversations", "gc")
        let dry = try machine.run(
            "conversations",
            "gc",
            "--keep-turns",
            "1",
            "--keep-days",
            "0",
            "--dry-run",
            "--json"
        )
        let wet = try machine.run("conversations", "gc", "--keep-turns", "1", "--keep-days", "0", "--json")
        let old = try machine.run("conversations", "show", machine.id, "--turn", "2")
        #expect(without.status == 2 && without.error.contains("--keep-turns"))
        #expect(dry.output.contains("\"turns_deleted\":2") && wet.output.contains("\"turns_deleted\":2"))
        #expect(old.status == 1 && old.error.contains("old ones may be swept"))
        try machine.talk("/recall a")
        #expect(try machine.show(machine.id)["turn"] == .integer(4))
    }

    @Test("a fork to itself, onto another, or of nothing is refused in words")
    func forkErrors() throws {
        let machine = try Machine()
        defer { machine.remove() }
        let nothing = try machine.run("conversations", "fork", "a", "--turn", "1", "--to", "b")
        let itself = try machine.run("conversations", "fork", "a", "--turn", "1", "--to", "a")
        let bare = try machine.run("conversations", "fork", "a")
        #expect(nothing.status == 1 && nothing.error.contains("a has no turn 1"))
        #expect(itself.status == 2 && bare.status == 2 && bare.error.contains("--to ID"))
    }
}
