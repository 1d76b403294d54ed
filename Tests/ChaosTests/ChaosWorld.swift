import Adapters
import Foundation
import KafkaTesting
import Pipeline
import Topics

/// A data folder with its log and its store, processes that work on them, and the harness's own view of both.
final class ChaosWorld: @unchecked Sendable {
    let folder: String
    private let data: String
    let log: any EventLog
    let objects: any ObjectStore
    let engine: ChaosEngine
    let prefix: String
    private let lock = NSLock()
    /// The embedded log's shared memory, to ask who has its locks; -1 on Kafka. Open as long as the log:
    /// closing it gives up our own locks on that file.
    private var lockProbe: Int32 = -1
    /// Where each topic ended when this world began: others may have used it before.
    private var starts: [String: [LogBounds]] = [:]
    /// Where the events are.
    private var events: [RecordPosition] = []
    private var processes: [ChaosProcess] = []

    /// Everything of this run of the tests; it goes when the process does.
    private static let base: String = {
        var template = Array("/tmp/penstock-chaos-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { return "/tmp" }
        atexit { ChaosWorld.removeBase() }
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }()

    private static func removeBase() {
        // What can not be removed is in /tmp.
        if base != "/tmp" { try? FileManager.default.removeItem(atPath: base) }
    }

    /// `prefix`: of the topics, and of the group; worlds of the same one share their store, which belongs to
    /// the log. The embedded log is the world's own, and has the usual prefix.
    init(_ engine: ChaosEngine, prefix: String) async throws {
        self.engine = engine
        self.prefix = engine.isKafka ? prefix : "penstock."
        var template = Array("\(Self.base)/XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ChaosFailure("no temporary folder") }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        data = engine.isKafka ? "\(Self.base)/\(prefix)data" : "\(folder)/data"
        for path in [data, "\(folder)/faults", "\(folder)/skills/count/scripts"] {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        // An event that is under way in many crashes is taken for their cause; here it is only unlucky.
        let settings = """
            data: "\(data)"
            http: { host: 127.0.0.1, port: 0 }
            agent: { attempts_max: 20 }
            skills: [./skills]
            \(engine.settings(prefix: self.prefix))
            """
        try Self.write(settings, "\(folder)/penstock.yaml", mode: 0o600)
        try Self.write(Self.skill, "\(folder)/skills/count/SKILL.md", mode: 0o600)
        try Self.write(Self.script, "\(folder)/skills/count/scripts/count.sh", mode: 0o755)
        log = try engine.open(folder: "\(data)/log")
        objects = try FolderStore(folder: "\(data)/store")
        try await patiently { try await log.prepare(Catalog.topics.map { $0.prefixed(self.prefix) }) }
        if !engine.isKafka {
            lockProbe = Glibc.open("\(data)/log/log.sqlite-shm", O_RDWR | O_CLOEXEC)
            guard lockProbe >= 0 else { throw ChaosFailure("no shared memory of the log") }
        }
        for topic in Catalog.topics {
            starts[topic.name] = try await patiently { try await log.bounds(of: self.prefix + topic.name) }
        }
    }

    /// Ends the processes and removes the folder; after a failure it is kept, where that is wanted: with what
    /// the workers said.
    func close(isClean: Bool) async throws {
        try await ChaosWait.blocking { [self] in
            for process in lock.withLock({ processes }) {
                process.signal(SIGCONT)
                process.end(SIGKILL)
            }
        }
        await log.close()
        if lockProbe >= 0 { Glibc.close(lockProbe) }
        guard !isClean, let kept = OwnBrokers.keepFolder else {
            return try FileManager.default.removeItem(atPath: folder)
        }
        try FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
        let place = "\(kept)/\(prefix)world"
        try FileManager.default.moveItem(atPath: folder, toPath: place)
        print("chaos: kept in \(place)")
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

    /// `through`: a program and its first words, which starts the worker with the words that follow.
    func worker(_ faults: Faults = Faults(), through wrapper: [String] = []) throws -> ChaosProcess {
        let worker = ["worker", "--config", "\(folder)/penstock.yaml", "--log-level", "info"]
        let process = try ChaosProcess(
            wrapper + [ChaosProcess.executable] + worker,
            environment: [
                "PATH": "/usr/bin:/bin", "PENSTOCK_FAULT": faults.fault,
                "PENSTOCK_FAULT_FOLDER": "\(folder)/faults", "PENSTOCK_BREAK": faults.breakage,
                "PENSTOCK_STORE_FAULTS": faults.store,
                "SWIFT_BACKTRACE": "enable=yes,color=no,interactive=no,threads=crashed",
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
            guard holdsLog(process) else { return true }
            process.signal(SIGCONT)
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Whether the process has SQLite's lock for writing: byte 120 of the log's shared memory.
    func holdsLog(_ process: ChaosProcess) -> Bool {
        guard lockProbe >= 0 else { return false }
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = 120
        lock.l_len = 1
        return fcntl(lockProbe, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid == process.pid
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
            // As a platform would, again and again; what is stored twice is one event all the same.
            let positions = try await patiently {
                try await log.append(part.map { $0.record(topic: prefix + EventsTopic.topic.name) })
            }
            lock.withLock { self.events += positions }
            try await waitUntilVisible(positions)
        }
    }

    /// What was appended may be readable a moment later; an event that cannot be read when its partition is
    /// given out counts as new.
    private func waitUntilVisible(_ positions: [RecordPosition]) async throws {
        let topic = prefix + EventsTopic.topic.name
        try await wait(seconds: 60, "what was fed") {
            let bounds = try await self.patiently { try await self.log.bounds(of: topic) }
            return positions.allSatisfy { $0.offset < bounds[Int($0.partition.partition)].next }
        }
    }

    /// What the workers' group has done, by partition.
    func progress() async throws -> [Pipeline.Progress] {
        let group = "\(prefix.dropLast())-workers"
        return try await patiently { try await log.progress(of: group, in: prefix + EventsTopic.topic.name) }
    }

    /// The events that the group has not done.
    func undone() async throws -> [RecordPosition] {
        let progress = try await progress()
        return lock.withLock { events }.filter { !progress[Int($0.partition.partition)].isDone($0.offset) }
    }

    func doneCount() async throws -> Int {
        let count = lock.withLock { events.count }
        return count - (try await undone().count)
    }

    func waitUntilDone(seconds: Double = 90) async throws {
        try await wait(seconds: seconds, "every event done") { try await self.undone().isEmpty }
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
            // Each look is a request, and many worlds share the broker.
            try await Task.sleep(for: .milliseconds(engine.isKafka ? 50 : 15))
        }
    }

    /// The harness asks again what a broker that is busy with other worlds does not answer in time.
    private func patiently<Value: Sendable>(_ ask: () async throws -> Value) async throws -> Value {
        let end = ContinuousClock.now + .seconds(60)
        while true {
            do {
                return try await ask()
            } catch let error as EventLogError where error.kind == .unavailable {
                guard ContinuousClock.now < end else { throw error }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    /// All records of a topic since this world began, by partition and in order.
    func records(_ topic: Topic) async throws -> [LogRecord] {
        let name = prefix + topic.name
        let starts = starts[topic.name] ?? []
        var records: [LogRecord] = []
        for (partition, bounds) in try await patiently({ try await log.bounds(of: name) }).enumerated() {
            var offset = starts[partition].next
            while offset < bounds.next {
                let place = TopicPartition(name, Int32(partition))
                let page = try await patiently {
                    try await log.read(place, from: offset, recordsMax: 1_000, wait: .zero)
                }
                records += page.records
                guard page.next > offset else { break }
                offset = page.next
            }
        }
        return records
    }
}
