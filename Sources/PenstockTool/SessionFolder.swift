import Glibc
import JSON

/// A session as `penstock sandbox` keeps it: `<data>/sandboxes/NAME` with the workspace in `work`, and for
/// each background process a folder `processes/ID` with what was asked, the ports it has, what was said, and
/// how it ended.
struct SessionFolder {
    let name: String
    let path: String

    var work: String { "\(path)/work" }

    static func base(_ data: String) -> String { "\(data)/sandboxes" }

    init(_ name: String, data: String) throws {
        let isPlain = name.utf8.allSatisfy {
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0
                || $0 == UInt8(ascii: "-")
        }
        guard isPlain, !name.isEmpty, name.utf8.count <= 64 else {
            throw UsageError("session \(name): expected 1 to 64 of a-z, 0-9 and -")
        }
        self.name = name
        path = "\(Self.base(data))/\(name)"
    }

    func make(data: String) throws {
        for folder in [data, Self.base(data), path, work, "\(path)/processes"] {
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
                throw Failure("\(folder): \(String(cString: strerror(errno)))")
            }
        }
    }

    static func all(data: String) -> [String] { names(base(data)).sorted() }

    // MARK: Processes

    struct Process {
        let id: Int
        let folder: String
        let command: [String]
        /// Those of the host that lead to it, while it runs.
        let ports: [PublishedPort]
        /// The program that waits for it, while that lives.
        let keeper: pid_t?
        /// `exited 0`, `signalled 9`, `limit wall-clock`, `failed: …`; nil while it runs.
        let ending: String?

        var log: String { "\(folder)/log" }
        /// What people read: a keeper that is gone without a word was killed, and its sandbox with it.
        var state: String { ending ?? (keeper == nil ? "lost" : "running") }
    }

    /// A folder for a new process, and its number.
    func makeProcess(_ command: [String], ports: [PublishedPort]) throws -> (id: Int, folder: String) {
        for id in ((processes().last?.id ?? 0) + 1)... {
            let folder = "\(path)/processes/\(id)"
            guard mkdir(folder, 0o700) != 0 else {
                let words = JSONValue.array(command.map { .string($0) })
                guard Files.replace("\(folder)/command", String(decoding: words.json, as: UTF8.self)),
                    ports.isEmpty || Files.replace("\(folder)/ports", PublishedPort.text(ports))
                else {
                    throw Failure("\(folder): can not be written")
                }
                return (id, folder)
            }
            guard errno == EEXIST else { throw Failure("\(folder): \(String(cString: strerror(errno)))") }
        }
        throw Failure("\(path): no number is left")
    }

    func processes() -> [Process] {
        Self.names("\(path)/processes").compactMap(Int.init).sorted().map { id in
            let folder = "\(path)/processes/\(id)"
            let (keeper, ending) = (Self.keeper("\(folder)/keeper"), Self.text("\(folder)/ending"))
            let ports = keeper == nil || ending != nil ? nil : Self.text("\(folder)/ports")
            return Process(
                id: id,
                folder: folder,
                command: Self.command("\(folder)/command"),
                ports: ports.flatMap(PublishedPort.parse) ?? [],
                keeper: keeper,
                ending: ending
            )
        }
    }

    func process(_ id: String) throws -> Process {
        guard let process = processes().first(where: { "\($0.id)" == id }) else {
            throw Failure("there is no process \(id) in the session \(name)")
        }
        return process
    }

    /// Written by the program that waits; with the time it started, for numbers of processes come again.
    static func note(keeper process: pid_t, in folder: String) -> Bool {
        startTime(process).map { Files.replace("\(folder)/keeper", "\(process) \($0)") } ?? false
    }

    private static func keeper(_ path: String) -> pid_t? {
        let parts = (text(path) ?? "").split(separator: " ")
        guard parts.count == 2, let process = pid_t(parts[0]), startTime(process) == String(parts[1]) else {
            return nil
        }
        return process
    }

    /// Field 22 of `/proc/PID/stat`; nil for a process that is gone or only waits to be reaped.
    private static func startTime(_ process: pid_t) -> String? {
        guard let line = text("/proc/\(process)/stat"), let end = line.lastIndex(of: ")") else { return nil }
        let fields = line[line.index(after: end)...].split(separator: " ")
        return fields.count > 19 && fields[0] != "Z" ? String(fields[19]) : nil
    }

    private static func command(_ path: String) -> [String] {
        // What cannot be read shows as nothing.
        let value = try? JSONValue(json: Files.read(path) ?? [])
        return value?.arrayValue?.compactMap(\.stringValue) ?? []
    }

    private static func text(_ path: String) -> String? {
        Files.read(path).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func names(_ folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }
}
