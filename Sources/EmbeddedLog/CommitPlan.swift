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
    let faults: FaultPoints

    func apply(to database: Database) throws(EventLogError) -> Result {
        var result = Result()
        faults.strike(.beginAfter)
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
            if isMine || faults.breaks(.noFence) {
                result.progress[partition] = lease.progress
            } else {
                result.lost.insert(partition)
            }
        }
        faults.strike(.produceBefore)
        for entry in entries where result.progress[entry.partition] != nil {
            _ = try EmbeddedLog.insert(entry.outputs, at: now, into: database)
            result.progress[entry.partition]?.finish(entry.offset)
        }
        faults.strike(.produceAfter)
        faults.strike(.offsetsBefore)
        for (partition, lease) in leases {
            guard var progress = result.progress[partition] else { continue }
            progress.settle()
            result.progress[partition] = progress
            try EmbeddedLog.store(
                faults.breaks(.noBitmap) ? Progress(low: progress.low) : progress,
                of: group,
                topic: lease.topic,
                partition: partition.partition,
                in: database
            )
        }
        faults.strike(.offsetsAfter)
        faults.strike(.commitBefore)
        return result
    }
}
