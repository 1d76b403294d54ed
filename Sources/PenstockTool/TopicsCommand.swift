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
                run: { invocation in
                    let composition = try await Composition(try SettingsFile.load(invocation))
                    for topic in Catalog.topics { Terminal.line("\(composition.full(topic)): as wanted") }
                    return 0
                }
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

    private static let groups = ["events": ["penstock-workers"], "replies": ["penstock-egress"]]

    private static func list(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        var rows = [["TOPIC", "PARTITIONS", "KEPT", "POLICY", "LAG"]]
        for topic in Catalog.topics {
            let bounds = try await composition.log.bounds(of: composition.full(topic))
            let kept = bounds.reduce(0) { $0 + $1.next - $1.first }
            var lags: [String: Int64] = [:]
            for group in groups[topic.name] ?? [] {
                let progress = try await composition.log.progress(of: group, in: composition.full(topic))
                lags[group] = zip(bounds, progress).reduce(0) { sum, pair in
                    let low = max(pair.1.low, pair.0.first)
                    return sum + pair.0.next - low - Int64(pair.1.doneAbove.count)
                }
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
        return 0
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
