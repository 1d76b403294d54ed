import CRDKafka
import Glibc
import Pipeline
import Synchronization
import Telemetry

/// One `rd_kafka_t` with what it calls back. Its owner destroys it, once, after the last call.
final class KafkaHandle: Sendable {
    /// What librdkafka calls back; from whatever thread polls the handle, but for log lines, which come from
    /// any.
    struct Callbacks: Sendable {
        /// A code that is not fatal is for information: librdkafka goes on trying by itself.
        var error: @Sendable (rd_kafka_resp_err_t, String) -> Void = { _, _ in }
        /// The statistics' JSON.
        var statistics: @Sendable ([UInt8]) -> Void = { _ in }
        /// The record's mark, and the position or why it has none.
        var delivery: (@Sendable (UnsafePointer<rd_kafka_message_t>) -> Void)?
        var rebalance:
            @Sendable (rd_kafka_resp_err_t, UnsafePointer<rd_kafka_topic_partition_list_t>) -> Void =
                { _, _ in }
    }

    // librdkafka's handles may be used by several threads at once.
    nonisolated(unsafe) let pointer: OpaquePointer
    private let context: HandleContext

    init(
        _ use: KafkaProperties.Use,
        _ settings: KafkaSettings,
        _ callbacks: Callbacks = Callbacks()
    ) throws(EventLogError) {
        context = HandleContext(callbacks)
        let conf = try Self.configuration(use, settings)
        rd_kafka_conf_set_opaque(conf, Unmanaged.passUnretained(context).toOpaque())
        Self.setCallbacks(conf, use)
        var words = [CChar](repeating: 0, count: 512)
        let type = use.isProducer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER
        guard let pointer = rd_kafka_new(type, conf, &words, words.count) else {
            rd_kafka_conf_destroy(conf)
            throw EventLogError(.invalid, "log.kafka: \(Self.text(words))")
        }
        self.pointer = pointer
    }

    private static func text(_ words: [CChar]) -> String {
        String(decoding: words.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func configuration(
        _ use: KafkaProperties.Use,
        _ settings: KafkaSettings
    ) throws(EventLogError) -> OpaquePointer {
        guard let conf = rd_kafka_conf_new() else { preconditionFailure("no memory for librdkafka") }
        for (name, value) in KafkaProperties.all(use, settings) {
            var words = [CChar](repeating: 0, count: 512)
            guard rd_kafka_conf_set(conf, name, value, &words, words.count) != RD_KAFKA_CONF_OK else {
                continue
            }
            rd_kafka_conf_destroy(conf)
            // The value may be a secret; librdkafka's words repeat only those of a fixed set.
            throw EventLogError(.invalid, "log.kafka.properties: \(name): \(text(words))")
        }
        return conf
    }

    private static func setCallbacks(
        _ conf: OpaquePointer,
        _ use: KafkaProperties.Use
    ) {
        rd_kafka_conf_set_log_cb(conf) { handle, level, facility, text in
            KafkaTelemetry.log(handle.flatMap { rd_kafka_name($0) }, level, facility, text)
        }
        rd_kafka_conf_set_error_cb(conf) { _, code, reason, opaque in
            let words = reason.map { String(cString: $0) } ?? ""
            HandleContext.of(opaque).callbacks.error(rd_kafka_resp_err_t(rawValue: code), words)
        }
        rd_kafka_conf_set_stats_cb(conf) { _, json, count, opaque in
            guard let json else { return 0 }
            let bytes = UnsafeRawBufferPointer(start: json, count: count)
            HandleContext.of(opaque).callbacks.statistics(Array(bytes))
            return 0
        }
        if use.isProducer {
            // Where nobody wants reports, too: they wake librdkafka's flush, which begins every commit, and
            // else looks only every 10 ms whether all is acknowledged.
            rd_kafka_conf_set_dr_msg_cb(conf) { _, message, opaque in
                if let message { HandleContext.of(opaque).callbacks.delivery?(message) }
            }
        }
        if case .member = use {
            rd_kafka_conf_set_rebalance_cb(conf) { _, code, partitions, opaque in
                if let partitions {
                    HandleContext.of(opaque).callbacks.rebalance(code, UnsafePointer(partitions))
                }
            }
        }
    }

    /// The fatal error of this client, if it has met one.
    var fatal: (code: rd_kafka_resp_err_t, words: String)? {
        var words = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(pointer, &words, words.count)
        return code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : (code, Self.text(words))
    }

    /// Instead of `destroy`: it stays as it is until the process ends, with what it calls back.
    func abandon() {
        _ = Unmanaged.passRetained(self)
    }

    /// `isClosing`: for a consumer, whether it leaves its group in order.
    func destroy(isClosing: Bool = true) {
        rd_kafka_destroy_flags(pointer, isClosing ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
    }
}

/// What librdkafka hands back to us in a callback. It lives as long as its handle.
private final class HandleContext: Sendable {
    let callbacks: KafkaHandle.Callbacks

    init(_ callbacks: KafkaHandle.Callbacks) {
        self.callbacks = callbacks
    }

    static func of(_ opaque: UnsafeMutableRawPointer?) -> HandleContext {
        guard let opaque else { preconditionFailure("a callback without its handle") }
        return Unmanaged<HandleContext>.fromOpaque(opaque).takeUnretainedValue()
    }
}

/// librdkafka's own lines and numbers, as ours.
enum KafkaTelemetry {
    private static let logger = Logger(label: "log.kafka")

    static func log(
        _ client: UnsafePointer<CChar>?,
        _ level: Int32,
        _ facility: UnsafePointer<CChar>?,
        _ text: UnsafePointer<CChar>?
    ) {
        let facility = facility.map { String(cString: $0) } ?? ""
        // That a property is for consumers only: we give operators one list for both.
        guard facility != "CONFWARN" else { return }
        let metadata = [
            "client": client.map { String(cString: $0) } ?? "",
            "facility": facility, LogKeys.reason: text.map { String(cString: $0) } ?? "",
        ]
        switch level {
        case ...4: logger.warning("Kafka client", metadata: metadata)
        case 5, 6: logger.info("Kafka client", metadata: metadata)
        default: logger.debug("Kafka client", metadata: metadata)
        }
    }
}
