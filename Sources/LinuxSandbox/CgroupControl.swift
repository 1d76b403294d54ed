import CLinux
import Glibc

/// Where this process may make control groups that limit memory and processes: v1's two hierarchies, or v2's
/// one.
struct CgroupControl: CustomStringConvertible {
    let isUnified: Bool
    /// Folders in which groups can be made; v1: memory, then pids.
    let bases: [String]

    var description: String { "\(isUnified ? "v2" : "v1"): \(bases.joined(separator: ", "))" }

    static func find() -> CgroupControl? {
        let groups = paths()
        let control = unified(groups) ?? legacy(groups)
        guard let control, control.bases.allSatisfy({ access($0, W_OK) == 0 }) else { return nil }
        return control
    }

    /// Of each hierarchy: its controllers ("" for v2) and our group's folder.
    private static func paths() -> [String: String] {
        var mounts: [String: String] = [:]
        for line in text("/proc/self/mountinfo").split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), fields.count > dash + 3, fields[3] == "/" else {
                continue
            }
            if fields[dash + 1] == "cgroup2" { mounts[""] = String(fields[4]) }
            guard fields[dash + 1] == "cgroup" else { continue }
            for option in fields[dash + 3].split(separator: ",") {
                mounts[String(option)] = String(fields[4])
            }
        }
        var groups: [String: String] = [:]
        for line in text("/proc/self/cgroup").split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let names = fields[1].isEmpty ? [""] : fields[1].split(separator: ",").map(String.init)
            for name in names { groups[name] = mounts[name].map { $0 + (fields[2] == "/" ? "" : fields[2]) } }
        }
        return groups
    }

    /// A group with processes cannot be divided, so the worker's own must lie in one that was made for
    /// dividing: systemd's DelegateSubgroup.
    private static func unified(_ groups: [String: String]) -> CgroupControl? {
        guard let own = groups[""], let slash = own.lastIndex(of: "/") else { return nil }
        let base = String(own[..<slash])
        let controllers = text(base + "/cgroup.controllers").split(whereSeparator: \.isWhitespace)
        guard controllers.contains("memory"), controllers.contains("pids"),
            write("+memory +pids", to: base + "/cgroup.subtree_control")
        else { return nil }
        return CgroupControl(isUnified: true, bases: [base])
    }

    private static func legacy(_ groups: [String: String]) -> CgroupControl? {
        guard let memory = groups["memory"], let pids = groups["pids"] else { return nil }
        return CgroupControl(isUnified: false, bases: [memory, pids])
    }

    // MARK: Small files

    static func text(_ path: String) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 8192)
        while true {
            let count = read(file, &piece, piece.count)
            guard count > 0, bytes.count < 1 << 20 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += piece[..<count]
        }
    }

    static func write(_ text: String, to path: String) -> Bool {
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        return Glibc.write(file, text, text.utf8.count) == text.utf8.count
    }
}
