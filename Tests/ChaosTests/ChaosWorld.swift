import Adapters
import EmbeddedLog
import Foundation
import Pipeline
import Topics

/// A data folder with its log and its store, processes that work on them, and the harness's own view of both.
final class ChaosWorld: @unchecked Sendable {
    let folder: String
    let log: any EventLog
    let objects: any ObjectStore
    let prefix = "penstock."
    private let lock = NSLock()
    private var processes: [ChaosProcess] = []

    init() async throws {
        var template = Array("/tmp/penstock-chaos-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ChaosFailure("no temporary folder") }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        for name in ["data", "faults", "skills/count/scripts"] {
            try FileManager.default.createDirectory(
                atPath: "\(folder)/\(name)",
                withIntermediateDirectories: true
            )
        }
        // An event that is under way in many crashes is taken for their cause; here it is only unlucky.
        let settings = """
            data: ./data
            http: { host: 127.0.0.1, port: 0 }
            agent: { attempts_max: 20 }
            skills: [./skills]
            """
        try Self.write(settings, "\(folder)/penstock.yaml", mode: 0o600)
        try Self.write(Self.skill, "\(folder)/skills/count/SKILL.md", mode: 0o600)
        try Self.write(Self.script, "\(folder)/skills/count/scripts/count.sh", mode: 0o755)
        log = try EmbeddedLog(folder: "\(folder)/data/log", time: .system, chance: .system)
        objects = try FolderStore(folder: "\(folder)/data/store")
        try await log.prepare(Catalog.topics.map { $0.prefixed(prefix) })
    }

    /// Ends the processes and removes the folder.
    func close() async throws {
        try await ChaosWait.blocking { [self] in
            for process in lock.withLock({ processes }) {
                process.signal(SIGCONT)
                process.end(SIGKILL)
            }
        }
        await log.close()
        try FileManager.default.removeItem(atPath: folder)
    }

    private static let skill = """
        ---
        name: count
        description: Counts how often it was asked.
        ---
        Run it without arguments.
        """

    private static let script = """
        #!/usr/bin/env bash
        set -e
        count=0
        [[ ! -e /work/count ]] || read -r count </work/count
        echo $((count + 1)) >/work/count
        echo "count is $((count + 1))"
        """

    /// Closed on exec: a process of another test, started at this moment, would keep the script open for
    /// writing, and nobody could run it.
    private static func write(_ text: String, _ path: String, mode: mode_t) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        defer { Glibc.close(file) }
        let bytes = Array(text.utf8)
        guard file >= 0, Glibc.write(file, bytes, bytes.count) == bytes.count else {
            throw ChaosFailure("\(path): \(String(cString: strerror(errno)))")
        }
    }
}

// Processes.
extension ChaosWorld {
    /// What is to go wrong in one process.
    struct Faults: Sendable {
        var fault = ""
        var breakage = ""
        var store = ""
    }

    func worker(_ faults: Faults = Faults()) throws -> ChaosProcess {
        let process = try ChaosProcess(
            ["worker", "--config", "\(folder)/penstock.yaml", "--log-level", "warning"],
            environment: [
                "PATH": "/usr/bin:/bin", "PENSTOCK_FAULT": faults.fault,
                "PENSTOCK_FAULT_FOLDER": "\(folder)/faults", "PENSTOCK_BREAK": faults.breakage,
                "PENSTOCK_STORE_FAULTS": faults.store,
            ],
            errorsPath: "\(folder)/errors.txt"
        )
        lock.withLock { processes.append(process) }
        return process
    }

    /// Waits until the process is where a fault of its plan happens.
    func wait(for process: ChaosProcess, at point: String, seconds: Double = 60) async throws {
        let path = "\(folder)/faults/\(process.pid).\(point)"
        let isThere = try await ChaosWait.blocking {
            ChaosWait.until(seconds: seconds) {
                access(path, F_OK) == 0 ? true : process.hasEnded ? false : nil
            } ?? false
        }
        // A process that dies at the point leaves its mark and is gone at once.
        guard isThere || access(path, F_OK) == 0 else {
            throw ChaosFailure("\(point) was not reached: \(process.errors.suffix(2_000))")
        }
    }

    /// Lets a process go on that holds at the point.
    func release(_ process: ChaosProcess, from point: String) {
        Glibc.close(open("\(folder)/faults/\(process.pid).\(point).go", O_CREAT | O_CLOEXEC, 0o600))
    }

    func kill(_ process: ChaosProcess) async throws {
        try await ChaosWait.blocking { _ = process.end(SIGKILL) }
    }

    func waitForStop(_ process: ChaosProcess) async throws {
        let isStopped = try await ChaosWait.blocking { process.waitForStop(seconds: 60) }
        guard isStopped else { throw ChaosFailure("it was to stop: \(process.errors.suffix(2_000))") }
    }

    /// Stops it wherever it is, until it gets SIGCONT, but not within a transaction of the embedded log: all
    /// others would wait for that one. False when it has ended.
    @discardableResult
    func suspend(_ process: ChaosProcess) async throws -> Bool {
        while true {
            process.signal(SIGSTOP)
            let isStopped = try await ChaosWait.blocking { process.waitForStop(seconds: 60) }
            guard isStopped else { return false }
            guard Self.holdsLog(process.pid) else { return true }
            process.signal(SIGCONT)
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Whether the process has SQLite's lock for writing: byte 120 of the log's shared memory.
    ///
    /// Read from the kernel's list; a descriptor of that file, closed here, would give up our own locks.
    static func holdsLog(_ pid: pid_t) -> Bool {
        // Without the list no process is known to hold anything.
        let locks = (try? String(contentsOfFile: "/proc/locks", encoding: .utf8)) ?? ""
        return locks.split(separator: "\n").contains { line in
            let words = line.split(separator: " ")
            return words.contains("WRITE") && words.contains("\(pid)") && words.contains("120")
        }
    }

    /// Asks it to stop in order.
    func stop(_ process: ChaosProcess) async throws {
        let status = try await ChaosWait.blocking { process.end(SIGTERM) }
        guard status == 0 else {
            throw ChaosFailure("it ended with \(status): \(process.errors.suffix(2_000))")
        }
    }

    func waitForDeath(_ process: ChaosProcess, seconds: Double = 60) async throws {
        let status = try await ChaosWait.blocking { process.waitForEnd(seconds: seconds) }
        guard status == SIGKILL else {
            let how = status.map { "ended with \($0)" } ?? "goes on"
            throw ChaosFailure("it \(how), and was to die: \(process.errors.suffix(2_000))")
        }
    }
}

// The log and the store, without the processes' help.
extension ChaosWorld {
    func feed(_ events: [InboundEvent]) async throws {
        for start in stride(from: 0, to: events.count, by: 500) {
            let part = events[start..<min(start + 500, events.count)]
            _ = try await log.append(part.map { $0.record(topic: prefix + EventsTopic.topic.name) })
        }
    }

    /// Whether the workers' group has done every event there is.
    func isDone() async throws -> Bool {
        let topic = prefix + EventsTopic.topic.name
        let progress = try await log.progress(of: "penstock-workers", in: topic)
        return zip(progress, try await log.bounds(of: topic)).allSatisfy { $0.low == $1.next }
    }

    func doneCount() async throws -> Int64 {
        let progress = try await log.progress(of: "penstock-workers", in: prefix + EventsTopic.topic.name)
        return progress.reduce(0) { $0 + $1.low + Int64($1.doneAbove.count) }
    }

    func waitUntilDone(seconds: Double = 90) async throws {
        try await wait(seconds: seconds, "every event done") { try await self.isDone() }
    }

    func wait(
        seconds: Double,
        _ what: String,
        until condition: @Sendable () async throws -> Bool
    ) async throws {
        let end = ContinuousClock.now + .seconds(seconds)
        while try await !condition() {
            guard ContinuousClock.now < end else {
                let errors = lock.withLock { processes.last?.errors ?? "" }
                throw ChaosFailure("not seen in \(seconds) s: \(what): \(errors.suffix(2_000))")
            }
            try await Task.sleep(for: .milliseconds(15))
        }
    }

    /// All records of a topic, by partition and in order.
    func records(_ topic: Topic) async throws -> [LogRecord] {
        let name = prefix + topic.name
        var records: [LogRecord] = []
        for (partition, bounds) in try await log.bounds(of: name).enumerated() {
            var offset = bounds.first
            while offset < bounds.next {
                let place = TopicPartition(name, Int32(partition))
                let page = try await log.read(place, from: offset, recordsMax: 1_000, wait: .zero)
                records += page.records
                guard page.next > offset else { break }
                offset = page.next
            }
        }
        return records
    }
}
