import Glibc
import JSON
import Pipeline
import Topics

/// `penstock topics`: what travels, how much of it there is, and who is behind.
enum TopicsCommand {
    static let command = Command(
        name: "topics",
        summary: "the log's topics: create and check, list with lag, print schemas",
        subcommands: [
            Command(
                name: "apply",
                summary: "creates topics that are missing and checks the others",
                discussion: "Changes no topic that is there; exits 1 when one differs from what is wanted.",
                run: apply
            ),
            Command(name: "list", summary: "topics with records kept and each group's lag", run: list),
            Command(
                name: "schema",
                summary: "prints the JSON Schemas and the AsyncAPI document",
                options: [.value("write", "FOLDER", "writes the documents there instead")],
                run: schema
            ),
        ]
    )

    private static let groups = ["events": ["workers"], "replies": ["egress"]]

    private static func apply(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        let topics = Catalog.topics.map { $0.prefixed(composition.settings.topicPrefix) }
        let differences = try await composition.log.differences(topics)
        for topic in topics {
            let mine = differences.filter { $0.topic == topic.name }
            if invocation.isJSON {
                Terminal.json([
                    "topic": .string(topic.name),
                    "differences": .array(
                        mine.map {
                            [
                                "setting": .string($0.setting), "wanted": .string($0.wanted),
                                "found": .string($0.found),
                            ]
                        }
                    ),
                ])
                continue
            }
            if mine.isEmpty { Terminal.line("\(topic.name): as wanted") }
            for difference in mine {
                Terminal.line(
                    "\(topic.name): \(difference.setting) is \(difference.found), wanted is "
                        + difference.wanted
                )
            }
        }
        await composition.log.close()
        guard !differences.isEmpty else { return 0 }
        Terminal.complain(
            "nothing was changed: alter the topics with Kafka's own tool, if the difference is not meant"
        )
        return 1
    }

    private static func list(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        var rows = [["TOPIC", "PARTITIONS", "KEPT", "POLICY", "LAG"]]
        for topic in Catalog.topics {
            let bounds = try await composition.log.bounds(of: composition.full(topic))
            let kept = bounds.reduce(0) { $0 + $1.next - $1.first }
            var lags: [String: Int64] = [:]
            for group in (groups[topic.name] ?? []).map(composition.group) {
                lags[group] = try await lag(of: group, in: composition.full(topic), bounds, composition.log)
            }
            if invocation.isJSON {
                Terminal.json([
                    "topic": .string(composition.full(topic)),
                    "partitions": .integer(Int64(topic.partitions)),
                    "kept": .integer(kept), "lag": .object(lags.mapValues { .integer($0) }),
                ])
            }
            let lag = lags.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            rows.append([
                composition.full(topic), "\(topic.partitions)", "\(kept)", topic.cleanup.rawValue, lag,
            ])
        }
        if !invocation.isJSON { Terminal.table(rows) }
        await composition.log.close()
        return 0
    }

    /// Records that are not done. Where only one offset is open it may be the marker that ends a transaction,
    /// which is no record.
    private static func lag(
        of group: String,
        in topic: String,
        _ bounds: [LogBounds],
        _ log: any EventLog
    ) async throws -> Int64 {
        var lag: Int64 = 0
        for (partition, progress) in try await log.progress(of: group, in: topic).enumerated() {
            let low = max(progress.low, bounds[partition].first)
            let open = bounds[partition].next - low - Int64(progress.doneAbove.count)
            if open == 1, progress.doneAbove.isEmpty {
                let place = TopicPartition(topic, Int32(partition))
                let page = try await log.read(place, from: low, recordsMax: 1, wait: .zero)
                if page.records.isEmpty { continue }
            }
            lag += max(0, open)
        }
        return lag
    }

    private static func schema(_ invocation: Invocation) async throws -> Int32 {
        let documents = SchemaDocuments.all
        for (name, bytes) in documents {
            let text = String(decoding: bytes, as: UTF8.self)
            guard let folder = invocation.value("write") else {
                Terminal.line(text)
                continue
            }
            guard Files.replace("\(folder)/\(name)", text) else {
                throw Failure("\(folder)/\(name): can not be written")
            }
            chmod("\(folder)/\(name)", 0o644)
            Terminal.line("\(folder)/\(name)")
        }
        return 0
    }
}
