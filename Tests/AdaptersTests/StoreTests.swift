import Adapters
import Foundation
import Pipeline
import PipelineTesting
import Testing

@Suite("Object stores")
struct StoreTests {
    private func folder() throws -> String {
        let path = FileManager.default.temporaryDirectory.appending(
            path: "penstock-store-\(UUID().uuidString)"
        ).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    @Test(
        "a folder keeps the contract of an object store",
        arguments: ObjectStoreConformance.checks.map(\.name)
    )
    func folder(name: String) async throws {
        let path = try folder()
        defer { try? FileManager.default.removeItem(atPath: path) }

        let check = try #require(ObjectStoreConformance.checks.first { $0.name == name })
        try await check.check(ObjectStoreConformance(try FolderStore(folder: path), root: "test"))
    }

    @Test(
        "memory keeps the contract of an object store",
        arguments: ObjectStoreConformance.checks.map(\.name)
    )
    func memory(name: String) async throws {
        let check = try #require(ObjectStoreConformance.checks.first { $0.name == name })
        try await check.check(ObjectStoreConformance(MemoryStore(), root: "test"))
    }

    @Test("two processes' stores on one folder create a key once")
    func shared() async throws {
        let path = try folder()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let stores = [try FolderStore(folder: path), try FolderStore(folder: path)]

        for round in 0..<50 {
            async let first = stores[0].put("race/\(round)", [1], if: .absent)
            async let second = stores[1].put("race/\(round)", [2], if: .absent)
            let won = try await [first, second].filter { $0 != .conditionFailed }.count
            #expect(won == 1)
        }
    }

    @Test("drafts of a process that died long ago are removed, fresh ones are not")
    func leftovers() throws {
        let path = try folder()
        defer { try? FileManager.default.removeItem(atPath: path) }
        _ = try FolderStore(folder: path)
        let old = "\(path)/scratch/old"
        let fresh = "\(path)/scratch/fresh"
        try Data().write(to: URL(fileURLWithPath: old))
        try Data().write(to: URL(fileURLWithPath: fresh))
        let yesterday = Date(timeIntervalSinceNow: -86_400)
        try FileManager.default.setAttributes([.modificationDate: yesterday], ofItemAtPath: old)

        _ = try FolderStore(folder: path)

        #expect(!FileManager.default.fileExists(atPath: old))
        #expect(FileManager.default.fileExists(atPath: fresh))
    }

    @Test("a folder that can not be written is refused with its name")
    func unwritable() {
        let error = #expect(throws: ObjectStoreError.self) { try FolderStore(folder: "/proc/penstock") }

        #expect(error?.kind == .denied || error?.kind == .unreachable)
        #expect(error?.detail.contains("/proc/penstock") == true)
    }
}
