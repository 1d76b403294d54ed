import CRDKafka
import Pipeline

/// librdkafka's list of partitions, owned.
struct PartitionList: ~Copyable {
    let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    init(_ places: [TopicPartition], offset: Int64) {
        self.init(places.map { ($0, offset) })
    }

    init(_ offsets: [(place: TopicPartition, offset: Int64)]) {
        pointer = rd_kafka_topic_partition_list_new(Int32(offsets.count))
        for (place, offset) in offsets {
            let element = rd_kafka_topic_partition_list_add(pointer, place.topic, place.partition)
            element?.pointee.offset = offset
        }
    }

    deinit {
        rd_kafka_topic_partition_list_destroy(pointer)
    }

    /// Adds what is committed beside the offset; librdkafka frees it with the list.
    mutating func setMetadata(_ text: String, at index: Int) {
        let bytes = Array(text.utf8)
        guard let copy = rd_kafka_mem_malloc(nil, max(1, bytes.count)) else {
            preconditionFailure("no memory for \(bytes.count) bytes")
        }
        bytes.withUnsafeBytes {
            copy.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(copy), byteCount: $0.count)
        }
        pointer.pointee.elems[index].metadata = copy
        pointer.pointee.elems[index].metadata_size = bytes.count
    }

    struct Element {
        let place: TopicPartition
        let offset: Int64
        let metadata: String
        let code: rd_kafka_resp_err_t
    }

    var elements: [Element] { Self.elements(UnsafePointer(pointer)) }

    static func elements(_ list: UnsafePointer<rd_kafka_topic_partition_list_t>) -> [Element] {
        (0..<Int(list.pointee.cnt)).map { index in
            let element = list.pointee.elems[index]
            let metadata = UnsafeRawBufferPointer(start: element.metadata, count: element.metadata_size)
            return Element(
                place: TopicPartition(String(cString: element.topic), element.partition),
                offset: element.offset,
                metadata: String(decoding: metadata, as: UTF8.self),
                code: element.err
            )
        }
    }
}
