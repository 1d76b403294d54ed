import Foundation
import LinuxSandbox
import Pipeline
import PipelineTesting
import Testing

@Suite("LinuxSandbox keeps the seam's promises")
struct LinuxSandboxConformance {
    @Test("conformance", arguments: Builder.here, SandboxConformance.checks.map(\.name))
    func conforms(builder: Builder, check: String) async throws {
        let folders = Folders(builder)
        defer { folders.remove() }
        let conformance = SandboxConformance(try builder.sandbox) { try folders.make() }

        try await SandboxConformance.checks.first { $0.name == check }?.check(conformance)
    }
}

@Suite("The worker's own file as the spawner")
struct OwnFileTests {
    @Test("serves where the small program is missing", arguments: Builder.here)
    func serves(builder: Builder) async throws {
        var settings = builder.settings
        settings.executable = "/proc/self/exe"

        let outcome = try await LinuxSandbox(settings).run(SandboxRun(command: ["id", "-u"])) { _, _ in }

        #expect(outcome.text == "1000\n")
    }
}

/// Folders of one test, removed at its end.
final class Folders: @unchecked Sendable {
    private let builder: Builder
    private let lock = NSLock()
    private var paths: [String] = []

    init(_ builder: Builder) {
        self.builder = builder
    }

    func make() throws -> String {
        let path = try builder.makeFolder()
        lock.withLock { paths.append(path) }
        return path
    }

    func remove() {
        for path in paths { try? FileManager.default.removeItem(atPath: path) }
    }
}
