import CRDKafka
import Pipeline

// What a group has done, from what is committed.
extension MemberLoop {
    private static let committedMilliseconds: Int32 = 5_000

    /// What retention has taken away was never handled and cannot be any more; what is above the end is done
    /// by mistake, and will be other records.
    static func bounded(_ committed: Progress?, first: Int64, end: Int64) -> Progress {
        guard var progress = committed else { return Progress(low: first) }
        if progress.low > end { return Progress(low: end) }
        let above = progress.doneAbove
        if let last = above.last, last >= end {
            progress = Progress(low: progress.low)
            for offset in above where offset < end { progress.finish(offset) }
        }
        progress.skip(to: first)
        progress.settle()
        return progress
    }

    /// Waits for open transactions on these offsets, some seconds at most. Nil where nothing is committed.
    static func committed(_ places: [TopicPartition], by handle: KafkaHandle, group: String)
        throws(EventLogError) -> [TopicPartition: Progress?]
    {
        let list = PartitionList(places, offset: -1)
        let code = rd_kafka_committed(handle.pointer, list.pointer, committedMilliseconds)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError.error(code, "committed offsets of group \(group)")
        }
        var found: [TopicPartition: Progress?] = [:]
        for element in list.elements {
            guard element.code == RD_KAFKA_RESP_ERR_NO_ERROR else {
                throw KafkaError.error(element.code, "committed offset of \(element.place)")
            }
            found[element.place] = try progress(element, group)
        }
        return found
    }

    static func progress(_ element: PartitionList.Element, _ group: String) throws(EventLogError) -> Progress?
    {
        guard element.offset >= 0 else { return nil }
        guard let progress = CommitMetadata.decode(element.metadata, low: element.offset) else {
            throw EventLogError(
                .corrupt,
                "group \(group), \(element.place): the text committed beside offset \(element.offset) is not "
                    + "this program's; set the group's offset anew with Kafka's own tool to go on from there"
            )
        }
        return progress
    }
}
