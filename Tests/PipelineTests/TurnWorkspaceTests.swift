import Pipeline
import Synchronization
import Testing

@Suite("A turn's workspace")
struct TurnWorkspaceTests {
    @Test("a folder in which something ran is not used again unless its files were stored")
    func dirty() async throws {
        let folders = CountingFolders()
        var workspace = TurnWorkspace(tree: "before", conversation: "c", folders: folders)

        let first = try await workspace.open()
        folders.failNextCapture()
        await #expect(throws: TurnFailure.self) { try await workspace.capture() }
        let second = try await workspace.open()

        #expect(second != first)
        #expect(folders.discarded == [first])
    }

    @Test("a folder that was stored is used on, and kept for the next turn")
    func clean() async throws {
        let folders = CountingFolders()
        var workspace = TurnWorkspace(tree: "before", conversation: "c", folders: folders)

        let first = try await workspace.open()
        workspace.tree = try await workspace.capture()
        let second = try await workspace.open()
        workspace.tree = try await workspace.capture()
        await workspace.close(keeping: true)

        #expect(second == first)
        #expect(folders.kept == [first] && folders.discarded.isEmpty)
    }

    @Test("a folder in which something ran without being stored is not kept for the next turn")
    func notKept() async throws {
        let folders = CountingFolders()
        var workspace = TurnWorkspace(tree: "before", conversation: "c", folders: folders)

        let path = try await workspace.open()
        await workspace.close(keeping: true)

        #expect(folders.kept.isEmpty && folders.discarded == [path])
    }
}

/// Folders that are only counted.
private final class CountingFolders: WorkspaceFolders {
    private struct State {
        var opened = 0
        var captured = 0
        var failsNext = false
        var kept: [String] = []
        var discarded: [String] = []
    }

    private let state = Mutex(State())

    var kept: [String] { state.withLock { $0.kept } }
    var discarded: [String] { state.withLock { $0.discarded } }

    func failNextCapture() { state.withLock { $0.failsNext = true } }

    func open(_ tree: String?, for conversation: String) async throws(TurnFailure) -> WorkspaceFolder {
        state.withLock { state in
            state.opened += 1
            return WorkspaceFolder(path: "/folder/\(state.opened)", tree: tree)
        }
    }

    func capture(_ folder: WorkspaceFolder) async throws(TurnFailure) -> WorkspaceFolder {
        let (isFailure, number) = state.withLock { state in
            defer { state.failsNext = false }
            state.captured += 1
            return (state.failsNext, state.captured)
        }
        if isFailure { throw TurnFailure(.store, "a fault of the test") }
        return WorkspaceFolder(path: folder.path, tree: "tree-\(number)")
    }

    func carried(
        from before: String?,
        to after: String
    ) async throws(TurnFailure) -> (blobs: [CarriedBlob], left: Int) { ([], 0) }

    func keep(_ folder: WorkspaceFolder, for conversation: String) async {
        state.withLock { $0.kept.append(folder.path) }
    }

    func discard(_ folder: WorkspaceFolder) async {
        state.withLock { $0.discarded.append(folder.path) }
    }
}
