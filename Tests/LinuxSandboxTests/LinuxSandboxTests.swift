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
