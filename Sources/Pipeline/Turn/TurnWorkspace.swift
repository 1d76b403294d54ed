/// A conversation's files during one turn: named by a tree, and laid out as a folder once a skill needs them.
package struct TurnWorkspace: Sendable {
    /// The tree that the next skill finds; nil for no files.
    package var tree: String?
    private var folder: WorkspaceFolder?
    /// The folder holds what its tree says. It does not from the moment somebody may run in it until what
    /// that left is stored.
    private var isClean = true
    private let folders: any WorkspaceFolders
    private let conversation: String

    package init(tree: String?, conversation: String, folders: any WorkspaceFolders) {
        self.tree = tree
        self.conversation = conversation
        self.folders = folders
    }

    /// The folder's path, with the files of `tree` in it, to run something there.
    package mutating func open() async throws(TurnFailure) -> String {
        if let folder, isClean, folder.tree == tree {
            isClean = false
            return folder.path
        }
        if let folder { await folders.discard(folder) }
        folder = nil
        let opened = try await folders.open(tree, for: conversation)
        folder = opened
        isClean = false
        return opened.path
    }

    /// Stores the files that are in the folder now and returns their tree.
    ///
    /// A failure that is `.permanent` means that the files may not be kept: too many, too large, of a wrong
    /// kind.
    package mutating func capture() async throws(TurnFailure) -> String? {
        guard let folder else { return tree }
        let captured = try await folders.capture(folder)
        self.folder = captured
        // What was refused lies in the folder still, and a worker that lays the tree out elsewhere lacks it.
        isClean = captured.refused.isEmpty
        return captured.tree
    }

    /// What the last capture did not take and why, printable.
    package var refused: [String] { folder?.refused ?? [] }

    /// Drops what is in the folder; the next `open` lays out `tree` again.
    package mutating func reset() async throws(TurnFailure) {
        if let folder { await folders.discard(folder) }
        folder = nil
    }

    /// Gives the folder back: kept for the conversation's next turn when the turn took effect, else thrown
    /// away.
    package mutating func close(keeping isKept: Bool) async {
        guard let folder else { return }
        self.folder = nil
        if isKept, isClean, folder.tree == tree {
            await folders.keep(folder, for: conversation)
        } else {
            await folders.discard(folder)
        }
    }
}

package struct WorkspaceFolder: Sendable, Hashable {
    package let path: String
    /// The tree of what is in it, as far as we know.
    package let tree: String?
    /// What was not taken of it and why, printable, when it was captured.
    package let refused: [String]

    package init(path: String, tree: String?, refused: [String] = []) {
        self.path = path
        self.tree = tree
        self.refused = refused
    }
}

/// Lays workspaces out as folders, and stores what is in them.
package protocol WorkspaceFolders: Sendable {
    func open(_ tree: String?, for conversation: String) async throws(TurnFailure) -> WorkspaceFolder
    func capture(_ folder: WorkspaceFolder) async throws(TurnFailure) -> WorkspaceFolder
    /// The blobs that the second tree has and the first has not, itself among them, as far as they may travel
    /// with a record; and how many more there are.
    func carried(
        from before: String?,
        to after: String
    ) async throws(TurnFailure) -> (blobs: [CarriedBlob], left: Int)
    func keep(_ folder: WorkspaceFolder, for conversation: String) async
    func discard(_ folder: WorkspaceFolder) async
}
