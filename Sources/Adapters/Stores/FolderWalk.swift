import Glibc
import Pipeline

/// Lists keys in their order without reading folders that cannot hold any of them.
struct FolderWalk: Sendable {
    let root: String
    let prefix: String
    let after: String?
    let limit: Int

    func listing() throws(ObjectStoreError) -> ObjectListing {
        var found: [ObjectListing.Entry] = []
        // Every key of the listing is in this folder or below it.
        let end = prefix.lastIndex(of: "/").map { prefix.index(after: $0) } ?? prefix.startIndex
        // One more than asked for tells whether there are more.
        try visit(String(prefix[..<end]), &found)
        return ObjectListing(entries: Array(found.prefix(limit)), isTruncated: found.count > limit)
    }

    /// `folder`: the keys' common start, empty or ending in a slash.
    private func visit(_ folder: String, _ found: inout [ObjectListing.Entry]) throws(ObjectStoreError) {
        for name in try names(in: folder) {
            guard found.count <= limit else { return }
            if name.isFolder {
                let start = folder + name.text
                guard start.hasPrefix(prefix) || prefix.hasPrefix(start) else { continue }
                if let after, !isAfter(start + "\u{7F}", after) { continue }
                try visit(start, &found)
            } else {
                let key = folder + name.text
                guard key.hasPrefix(prefix), after.map({ isAfter(key, $0) }) ?? true else { continue }
                var status = stat()
                guard lstat("\(root)/\(key),", &status) == 0 else { continue }
                found.append(ObjectListing.Entry(key: key, byteCount: Int(status.st_size)))
            }
        }
    }

    private func isAfter(_ key: String, _ other: String) -> Bool {
        other.utf8.lexicographicallyPrecedes(key.utf8)
    }

    private struct Name {
        /// As it stands in keys: a folder's with its slash, an object's without its comma.
        let text: String
        let isFolder: Bool
    }

    private func names(in folder: String) throws(ObjectStoreError) -> [Name] {
        let path = folder.isEmpty ? root : "\(root)/\(folder)"
        guard let stream = opendir(path) else {
            guard errno == ENOENT || errno == ENOTDIR else { throw FolderStore.failure("opendir", path) }
            return []
        }
        defer { closedir(stream) }
        var names: [Name] = []
        while let entry = readdir(stream) {
            let text = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if text == "." || text == ".." { continue }
            if text.hasSuffix(",") {
                names.append(Name(text: String(text.dropLast()), isFolder: false))
            } else {
                names.append(Name(text: text + "/", isFolder: true))
            }
        }
        return names.sorted { $0.text.utf8.lexicographicallyPrecedes($1.text.utf8) }
    }
}
