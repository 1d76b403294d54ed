import CLinux
import Glibc

/// Where this process may make control groups that limit memory, processes and, if it can, processors: v1's
/// hierarchies, or v2's one.
package struct CgroupControl: Sendable, CustomStringConvertible {
    package let isUnified: Bool
    /// Folders in which groups can be made; v1: memory, pids, then that of processors where it may be
    /// divided.
    package let bases: [String]
    /// Whether groups have a share of the processors.
    package let sharesProcessors: Bool

    package var description: String { "\(isUnified ? "v2" : "v1"): \(bases.joined(separator: ", "))" }

    package init(isUnified: Bool, bases: [String], sharesProcessors: Bool) {
        self.isUnified = isUnified
        self.bases = bases
        self.sharesProcessors = sharesProcessors
    }

    package static func find() -> CgroupControl? {
        let groups = paths()
        return unified(groups) ?? legacy(groups)
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
        return CgroupControl(unified: String(own[..<slash]))
    }

    /// v2's, in this folder; nil where it cannot be divided by memory and processes.
    package init?(unified base: String) {
        let controllers = Self.text(base + "/cgroup.controllers").split(whereSeparator: \.isWhitespace)
        guard access(base, W_OK) == 0, controllers.contains("memory"), controllers.contains("pids"),
            Self.write("+memory +pids", to: base + "/cgroup.subtree_control")
        else { return nil }
        // On its own: it is refused while a process with a real-time policy is in a group below.
        let sharesProcessors =
            controllers.contains("cpu") && Self.write("+cpu", to: base + "/cgroup.subtree_control")
        self.init(isUnified: true, bases: [base], sharesProcessors: sharesProcessors)
    }

    private static func legacy(_ groups: [String: String]) -> CgroupControl? {
        guard let memory = groups["memory"], let pids = groups["pids"], access(memory, W_OK) == 0,
            access(pids, W_OK) == 0
        else { return nil }
        let processors = groups["cpu"].flatMap { access($0, W_OK) == 0 ? $0 : nil }
        return CgroupControl(
            isUnified: false,
            bases: [memory, pids] + (processors.map { [$0] } ?? []),
            sharesProcessors: processors != nil
        )
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
