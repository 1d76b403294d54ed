import Foundation
import LinuxSandbox
import Pipeline
import Testing

@Suite("The workspace's folder")
struct WorkspaceFolderTests {
    @Test("a symbolic link is refused as a workspace", arguments: Builder.here)
    func refusesLink(builder: Builder) async throws {
        let folder = try builder.makeFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createSymbolicLink(atPath: folder + "/link", withDestinationPath: "/etc")
        var run = SandboxRun(command: ["ls", "/work"])
        run.workspace = folder + "/link"

        let error = await #expect(throws: SandboxError.self) {
            try await builder.sandbox.run(run) { _, _ in }
        }

        #expect(error?.kind == .invalid)
    }

    @Test("links in the workspace lead nowhere on the host", arguments: Builder.here)
    func linksStayInside(builder: Builder) async throws {
        let bait = try Bait()
        let folder = try builder.makeFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createSymbolicLink(
            atPath: folder + "/file",
            withDestinationPath: bait.secretFile
        )
        var run = SandboxRun(command: ["cat", "file"])
        run.workspace = folder

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        #expect(outcome.ending == .exited(1))
        #expect(!outcome.text.contains("bait-of"))
    }

    @Test("files made inside belong to the worker", arguments: Builder.here)
    func filesBelongToTheWorker(builder: Builder) async throws {
        let folder = try builder.makeFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var run = SandboxRun(command: ["touch", "mine"])
        run.workspace = folder

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        var made = stat()
        #expect(outcome.succeeded, "\(outcome.text)")
        #expect(lstat(folder + "/mine", &made) == 0)
        #expect(made.st_uid == builder.owner)
    }

    @Test("a skill's folder can be read and run from, not changed", arguments: Builder.here)
    func mountsAreReadOnly(builder: Builder) async throws {
        let folder = try builder.makeFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try "#!/bin/sh\necho ran\n".write(toFile: folder + "/run", atomically: false, encoding: .utf8)
        chmod(folder + "/run", 0o755)
        var run = SandboxRun(command: [
            "bash", "-c",
            // Busy while another test forks between our writing it and closing it.
            "until /skills/one/run; [ $? != 126 ]; do sleep 0.1; done; touch /skills/one/x || touch /skills/y",
        ])
        run.mounts = [SandboxMount(host: folder, inside: "/skills/one")]

        let outcome = try await builder.sandbox.run(run) { _, _ in }

        #expect(outcome.ending == .exited(1))
        #expect(String(decoding: outcome.standardOutput, as: UTF8.self) == "ran\n", "\(outcome.text)")
        #expect(!FileManager.default.fileExists(atPath: folder + "/x"))
    }
}
