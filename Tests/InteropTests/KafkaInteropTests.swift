import Foundation
import JSON
import KafkaLog
import Pipeline
import Testing
import Topics

private let bootstrap: String? = {
    guard let servers = ProcessInfo.processInfo.environment["PENSTOCK_TEST_KAFKA"], !servers.isEmpty else {
        print("NOT CHECKED: Kafka's other clients: PENSTOCK_TEST_KAFKA names no broker")
        return nil
    }
    return servers
}()

@Suite("Beside Kafka's other clients", .enabled(if: bootstrap != nil), .timeLimit(.minutes(5)))
struct KafkaInteropTests {
    /// Text of every length and script, without what ends a line or a field.
    private static let keys: [String] = {
        let alphabet = Array("abcXYZ019-_:/.@ éüßñ中文字😀")
        return (0..<300).map { number in
            "k\(number)" + String((0..<number % 41).map { alphabet[(number * 7 + $0 * 13) % alphabet.count] })
        }
    }()

    /// A program of the machine, if it is there.
    private func program(_ name: String) -> URL? {
        ["/usr/bin", "/usr/local/bin"].map { URL(filePath: "\($0)/\(name)") }
            .first { FileManager.default.isExecutableFile(atPath: $0.path) }
    }

    @Test("every client puts a key into the partition that we do, and reads what we write")
    func partitions() async throws {
        let servers = try #require(bootstrap)
        let name = "interop-\(UUID().uuidString.prefix(8))"
        let log = try KafkaLog(KafkaSettings(bootstrap: servers, instance: "interop"), chance: .system)
        let topic = Topic(
            name: name,
            title: "",
            cleanup: .delete,
            retention: .seconds(3_600),
            key: "",
            message: DeadLetter.self
        )
        try await log.prepare([topic])
        let ours = Self.keys.map { key in
            NewRecord(
                topic: name,
                key: key,
                headers: [LogHeader("from", "penstock"), LogHeader("text", "ü")],
                value: Array("penstock".utf8)
            )
        }
        // One alone, the others in a transaction.
        _ = try await log.append([ours[0]])
        _ = try await log.append(Array(ours[1...]))
        var writers = 1
        writers += try await kcat(servers, name)
        writers += try await java(servers, name)
        let python = try await PythonEnvironment.python()
        writers += 1
        let script = PythonEnvironment.scripts.appending(path: "kafka_produce.py").path
        let outcome = try await PythonEnvironment.run(
            python,
            [script, servers, name, "\(writers * Self.keys.count)"],
            input: Self.keys.joined(separator: "\n")
        )

        #expect(outcome.status == 0)
        var seen: [String: [String: Int64]] = [:]
        for line in outcome.output.split(separator: "\n") {
            let record = try JSONValue(json: Array(line.utf8))
            let writer = record["value"]?.stringValue ?? ""
            seen[writer, default: [:]][record["key"]?.stringValue ?? ""] = record["partition"]?.integerValue
            guard writer == "penstock" else { continue }
            #expect(record["headers"] == ["from": "penstock", "text": "ü"])
        }
        #expect(seen.count == writers)
        for (writer, places) in seen {
            #expect(places.count == Self.keys.count, "\(writer)")
            for key in Self.keys {
                let wanted = Partitioner.partition(of: Array(key.utf8), among: topic.partitions)
                #expect(places[key] == Int64(wanted), "\(writer): \(key)")
            }
        }
        try await readsBack(log, name, writers)
        await log.close()
    }

    private func readsBack(_ log: KafkaLog, _ name: String, _ writers: Int) async throws {
        var count = 0
        for (partition, bounds) in try await log.bounds(of: name).enumerated() {
            var offset = bounds.first
            while offset < bounds.next {
                let place = TopicPartition(name, Int32(partition))
                let page = try await log.read(place, from: offset, recordsMax: 100, wait: .zero)
                count += page.records.count
                guard page.next > offset else { break }
                offset = page.next
            }
        }
        #expect(count == writers * Self.keys.count)
    }

    /// Debian's kcat. Returns how many writers this makes.
    private func kcat(_ servers: String, _ topic: String) async throws -> Int {
        guard let kcat = program("kcat") else {
            print("NOT CHECKED: partitions beside kcat: it is not installed")
            return 0
        }
        let lines = Self.keys.map { "\($0)\tkcat" }.joined(separator: "\n")
        let outcome = try await PythonEnvironment.run(
            kcat,
            ["-P", "-b", servers, "-t", topic, "-K", "\t", "-X", "topic.partitioner=murmur2_random"],
            input: lines
        )
        #expect(outcome.status == 0)
        return 1
    }

    /// Kafka's own client, with its own default.
    private func java(_ servers: String, _ topic: String) async throws -> Int {
        let home = ProcessInfo.processInfo.environment["PENSTOCK_TEST_KAFKA_HOME"] ?? ""
        guard !home.isEmpty, let java = program("java") else {
            print(
                "NOT CHECKED: partitions beside Java's client: PENSTOCK_TEST_KAFKA_HOME names no Apache Kafka"
            )
            return 0
        }
        let lines = Self.keys.map { "\($0)\tjava" }.joined(separator: "\n")
        let outcome = try await PythonEnvironment.run(
            java,
            [
                "-cp", "\(home)/libs/*", "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server",
                servers, "--topic", topic, "--reader-property", "parse.key=true",
            ],
            input: lines
        )
        #expect(outcome.status == 0)
        return 1
    }
}
