import Foundation

/// A process as the host's /proc shows it.
struct HostProcess {
    let pid: pid_t
    let parent: pid_t
    let name: String
    let commandLine: String

    /// Those of this moment.
    static var all: [HostProcess] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.compactMap(HostProcess.init)
    }

    static func marked(_ mark: String) -> [HostProcess] { all.filter { $0.commandLine.contains(mark) } }

    /// The ancestor of the marked process that is our child: other tests have spawners of their own.
    static func spawner(of mark: String) -> pid_t? {
        var process = marked(mark).first
        while let current = process {
            if current.parent == getpid() { return current.pid }
            process = HostProcess(current.parent)
        }
        return nil
    }

    /// Nil when it has ended.
    init?(_ pid: pid_t) {
        guard let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
            let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
        else { return nil }
        func field(_ name: String) -> String? {
            status.split(separator: "\n").first { $0.hasPrefix("\(name):\t") }.map {
                String($0.dropFirst(name.count + 2))
            }
        }
        guard let name = field("Name"), let parent = field("PPid").flatMap({ pid_t($0) }) else { return nil }
        self.pid = pid
        self.parent = parent
        self.name = name
        commandLine = String(decoding: line, as: UTF8.self)
    }

    /// What its descriptors beyond the standard streams are: a path, or the kind and number of what has none.
    var openFiles: [String] {
        let folder = "/proc/\(pid)/fd"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { (Int($0) ?? 0) > 2 }.compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")
        }
    }
}
