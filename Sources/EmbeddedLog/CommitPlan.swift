import Pipeline
import Topics

/// One commit, as the database's thread carries it out.
struct CommitPlan: Sendable {
    struct Entry: Sendable {
        let partition: TopicPartition
        let offset: Int64
        let outputs: [EmbeddedLog.Placed]
    }

    struct Lease: Sendable {
        let topic: Int64
        let fence: Int64
        var progress: Progress
    }

    struct Result: Sendable {
        var progress: [TopicPartition: Progress] = [:]
        var lost: Set<TopicPartition> = []
    }

    let group: String
    let session: String
    let entries: [Entry]
    let leases: [TopicPartition: Lease]
    let now: Timestamp

    func apply(to database: Database) throws(EventLogError) -> Result {
        var result = Result()
        for (partition, lease) in leases {
            let isMine =
                try database.run(
                    "SELECT 1 FROM leases WHERE consumers = ? AND topic = ? AND partition = ? AND "
                        + "session = ? AND fence = ?",
                    [
                        .text(group), .integer(lease.topic), .integer(Int64(partition.partition)),
                        .text(session),
                        .integer(lease.fence),
                    ]
                ) { _ in true }.first ?? false
            if isMine { result.progress[partition] = lease.progress } else { result.lost.insert(partition) }
        }
        for entry in entries where result.progress[entry.partition] != nil {
            _ = try EmbeddedLog.insert(entry.outputs, at: now, into: database)
            result.progress[entry.partition]?.finish(entry.offset)
        }
        for (partition, lease) in leases {
            guard var progress = result.progress[partition] else { continue }
            progress.settle()
            result.progress[partition] = progress
            try EmbeddedLog.store(
                progress,
                of: group,
                topic: lease.topic,
                partition: partition.partition,
                in: database
            )
        }
        return result
    }
}
