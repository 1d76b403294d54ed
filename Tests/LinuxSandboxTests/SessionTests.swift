import LinuxSandbox
import Pipeline
import PipelineTesting
import Testing

@Suite("A session on LinuxSandbox keeps the protocol's promises")
struct SessionTests {
    @Test("conformance", arguments: Builder.here, SessionConformance.checks.map(\.name))
    func conforms(builder: Builder, check: String) async throws {
        let folders = Folders(builder)
        defer { folders.remove() }
        var base = SandboxRun(command: [])
        base.workspace = try folders.make()
        let session = WorkspaceSession(try builder.sandbox, base: base)

        try await SessionConformance.checks.first { $0.name == check }?.check(SessionConformance(session))
        await session.close()
    }
}
