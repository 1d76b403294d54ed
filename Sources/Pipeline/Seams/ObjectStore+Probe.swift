extension ObjectStore {
    /// Shows that the store keeps what the turn protocol stands on: a second create of one key fails, and the
    /// keys of one folder are listed in rising order.
    ///
    /// Throws `.unsupported` for a store that must not be used, and what went wrong where it can not be
    /// reached. Writes two objects of a few bytes below `probe/` and removes them.
    package func probe(_ chance: ChanceSource) async throws(ObjectStoreError) {
        let folder = "probe/\(chance.identifier())"
        let later = "\(folder)/b"
        let earlier = "\(folder)/a"
        let first = try await put(later, Array("1".utf8), if: .absent)
        let second = try await put(later, Array("2".utf8), if: .absent)
        let kept = try await get(later)
        _ = try await put(earlier, Array("3".utf8), if: .absent)
        let listed = try await list(prefix: "\(folder)/", after: nil, limit: 1).entries.first?.key
        for key in [earlier, later] { await removeProbe(key) }
        guard first != .conditionFailed, second == .conditionFailed, kept?.body == Array("1".utf8) else {
            throw ObjectStoreError(
                .unsupported,
                "it ignores If-None-Match, so two workers could both write one turn; "
                    + "use a store that has conditional writes"
            )
        }
        guard listed == earlier else {
            throw ObjectStoreError(
                .unsupported,
                "it does not list keys in their order, so the newest turn could not be found; "
                    + "use a store that does (S3 Express One Zone does not)"
            )
        }
    }

    private func removeProbe(_ key: String) async {
        // A worker needs no right to delete; what stays is a few bytes that the next sweep takes.
        try? await delete(key)
    }
}
