import Glibc

/// Reading folders and files, without following links out of what was asked for.
enum FileTree {
    static func realPath(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    static func isFile(_ path: String) -> Bool { kind(path) == S_IFREG }
    static func isFolder(_ path: String) -> Bool { kind(path) == S_IFDIR }
    static func isExecutable(_ path: String) -> Bool { isFile(path) && access(path, X_OK) == 0 }

    static func byteCount(_ path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    /// Whether the relative path names something in the folder, links followed.
    static func isInside(_ folder: String, _ path: String) -> Bool {
        guard let root = realPath(folder), let real = realPath("\(folder)/\(path)") else { return false }
        return real.hasPrefix(root == "/" ? root : root + "/")
    }

    private static func kind(_ path: String) -> mode_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & S_IFMT : nil
    }

    /// Sorted; empty when the folder cannot be read.
    static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream), names.count < 10_000 {
            let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            guard let name = String(validating: bytes, as: UTF8.self), name != ".", name != ".." else {
                continue
            }
            names.append(name)
        }
        return names.sorted()
    }

    /// Nil when it is no regular file, cannot be read, or is larger.
    static func read(_ path: String, bytesMax: Int) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= bytesMax else {
            return nil
        }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= bytesMax {
            let count = Glibc.read(file, &piece, piece.count)
            guard count > 0 else { return count == 0 ? bytes : nil }
            bytes += piece[..<count]
        }
        return nil
    }

    /// Regular files below the folder, relative to it, sorted; links are left out.
    static func files(below folder: String, most: Int, depthMax: Int) -> [String] {
        var files: [String] = []
        var queue = [("", 0)]
        var next = 0
        while next < min(queue.count, 1_000), files.count < most {
            let (prefix, depth) = queue[next]
            next += 1
            for name in names(in: "\(folder)/\(prefix)") where !name.hasPrefix(".") && name != "node_modules"
            {
                var status = stat()
                guard lstat("\(folder)/\(prefix)\(name)", &status) == 0 else { continue }
                if status.st_mode & S_IFMT == S_IFREG, files.count < most { files.append(prefix + name) }
                if status.st_mode & S_IFMT == S_IFDIR, depth < depthMax {
                    queue.append(("\(prefix)\(name)/", depth + 1))
                }
            }
        }
        return files.sorted()
    }
}
