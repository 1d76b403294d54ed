package import Pipeline
import Synchronization

/// What every `SandboxSession` must do; each check gets a session of its own and throws a
/// `ConformanceFailure` that says what went wrong.
package struct SessionConformance: Sendable {
    let session: any SandboxSession

    package init(_ session: any SandboxSession) {
        self.session = session
    }

    package static let checks: [(name: String, check: @Sendable (Self) async throws -> Void)] = [
        ("files stay from one command to the next", { try await $0.keepsFiles() }),
        ("variables, folder, input and timeout are the command's own", { try await $0.takesCommands() }),
        ("a background process is listed, read and awaited", { try await $0.runsInTheBackground() }),
        ("signals reach a process, at once or when it starts", { try await $0.signals() }),
        ("files are read, written and listed, and none outside", { try await $0.readsAndWrites() }),
        ("a granted port is reached, and none that is not", { try await $0.connects() }),
        ("a watch tells of changes, in folders made later too", { try await $0.watches() }),
        ("close ends what runs", { try await $0.closes() }),
    ]

    private func bash(_ script: String) -> SessionCommand { SessionCommand(["bash", "-c", script]) }

    func expect(_ condition: Bool, _ what: String) throws {
        if !condition { throw ConformanceFailure(what) }
    }

    private func text(_ outcome: SandboxOutcome) -> String {
        String(decoding: outcome.standardOutput + outcome.standardError, as: UTF8.self)
    }

    /// Until the process has said something; commands of the session pace the looking.
    private func awaitWords(of id: SessionProcess.ID) async throws {
        while try await session.logs(of: id).isEmpty {
            _ = try await session.exec(bash("sleep 0.1")) { _, _ in }
        }
    }

    private func keepsFiles() async throws {
        _ = try await session.exec(bash("echo one >kept; echo two >/tmp/gone")) { _, _ in }
        let outcome = try await session.exec(bash("cat kept; ls /tmp")) { _, _ in }
        try expect(text(outcome) == "one\n", "the folder is kept and /tmp is not: \(text(outcome))")
    }

    private func takesCommands() async throws {
        var command = bash("pwd; echo \"$A\"; cat")
        command.environment = ["A": "a b"]
        command.folder = "sub"
        command.input = Array("in".utf8)
        _ = try await session.exec(bash("mkdir sub")) { _, _ in }
        let pieces = Mutex<[UInt8]>([])
        let outcome = try await session.exec(command) { _, bytes in pieces.withLock { $0 += bytes } }
        try expect(text(outcome) == "/work/sub\na b\nin", text(outcome))
        try expect(pieces.withLock { $0 } == outcome.standardOutput, "the output is streamed")
        var slow = bash("sleep 60")
        slow.timeout = .milliseconds(300)
        let ended = try await session.exec(slow) { _, _ in }
        try expect(ended.ending == .limit(.wallClock), "the timeout ends it: \(ended.ending)")
    }

    private func runsInTheBackground() async throws {
        let id = try await session.start(
            bash("echo begun; while [ ! -e stop ]; do sleep 0.05; done; echo err >&2; exit 4")
        )
        try await awaitWords(of: id)
        let during = await session.processes()
        try expect(during.map(\.id) == [id] && during[0].isRunning, "it runs: \(during)")
        _ = try await session.exec(bash("touch stop")) { _, _ in }
        let outcome = try await session.wait(for: id)
        try expect(outcome.ending == .exited(4), "its own status: \(outcome.ending)")
        try expect(try await session.logs(of: id) == Array("begun\nerr\n".utf8), "its log stays")
        try expect(await session.processes().first?.isRunning == false, "it is listed as ended")
        try expect(try await session.wait(for: id) == outcome, "and can be awaited again")
        do throws(SandboxError) {
            _ = try await session.logs(of: id + 1)
            throw SandboxError(.busy, "an unknown process has a log")
        } catch {
            try expect(error.kind == .invalid, "\(error)")
        }
    }

    private func signals() async throws {
        let script = "trap 'echo got TERM; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
        let id = try await session.start(bash(script))
        try await awaitWords(of: id)
        try await session.signal(15, to: id)
        let outcome = try await session.wait(for: id)
        try expect(outcome.ending == .exited(5) && text(outcome).contains("got TERM"), "\(outcome.ending)")
        let early = try await session.start(bash("sleep 60"))
        try await session.signal(15, to: early)
        let ended = try await session.wait(for: early)
        try expect(ended.ending == .signalled(15), "an early signal waits for the command: \(ended.ending)")
        let killed = try await session.start(bash("trap '' TERM INT; sleep 60"))
        try await session.signal(9, to: killed)
        try expect(try await session.wait(for: killed).ending == .signalled(9), "KILL can not be refused")
    }

    private func readsAndWrites() async throws {
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        try await session.write("a/b/data", bytes)
        try expect(try await session.read("/work/a/b/data", most: 100_000) == bytes, "read as written")
        _ = try await session.exec(bash("ln -s /etc/hostname a/link; mkdir a/c; printf x >'a/d e'")) { _, _ in
        }
        let entries = try await session.list("a").map { "\($0.name):\($0.kind.rawValue)" }
        try expect(entries == ["b:folder", "c:folder", "d e:file", "link:link"], "\(entries)")
        let link = try await session.read("a/link", most: 100)
        try expect(link == Array("sandbox\n".utf8), "a link leads into the sandbox's own tree")
        for wrong in ["../x", "/etc/passwd", "a/none", "a/b"] {
            do throws(SandboxError) {
                _ = try await session.read(wrong, most: 10)
                throw SandboxError(.busy, "read \(wrong)")
            } catch {
                try expect(error.kind == .invalid, "\(wrong): \(error)")
            }
        }
        do throws(SandboxError) {
            _ = try await session.read("a/b/data", most: 99_999)
            throw SandboxError(.busy, "read more than asked")
        } catch {
            try expect(error.kind == .invalid, "\(error)")
        }
    }

    private func closes() async throws {
        let id = try await session.start(bash("echo x; sleep 600"))
        try await awaitWords(of: id)
        await session.close()
        try expect(await session.processes().allSatisfy { !$0.isRunning }, "nothing runs any more")
        do throws(SandboxError) {
            _ = try await session.exec(bash("true")) { _, _ in }
            throw SandboxError(.busy, "it ran")
        } catch {
            try expect(error.kind == .invalid, "a closed session takes nothing: \(error)")
        }
    }
}
