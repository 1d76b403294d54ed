package import Pipeline

/// Workspaces without files.
package struct StandInFolders: WorkspaceFolders {
    /// For agents without skills: none is ever opened.
    package static let none = Self(path: nil)
    /// For skills that are not really run.
    package static let plain = Self(path: "/nowhere")

    private let path: String?

    package func open(_ tree: String?, for conversation: String) async throws(TurnFailure) -> WorkspaceFolder
    {
        guard let path else { throw TurnFailure(.permanent, "no folders here") }
        return WorkspaceFolder(path: path, tree: tree)
    }

    package func capture(_ folder: WorkspaceFolder) async throws(TurnFailure) -> WorkspaceFolder { folder }
    package func carried(
        from before: String?,
        to after: String
    ) async throws(TurnFailure) -> (blobs: [CarriedBlob], left: Int) { ([], 0) }

    package func keep(_ folder: WorkspaceFolder, for conversation: String) async {}
    package func discard(_ folder: WorkspaceFolder) async {}
}
