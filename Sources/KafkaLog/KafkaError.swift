import CRDKafka
import Pipeline

/// librdkafka's codes, as the seam's errors.
enum KafkaError {
    /// `_TIMED_OUT`, `UNKNOWN_TOPIC_OR_PART`: librdkafka's own short names; those that begin with `_` were
    /// raised by the client, the others came from a broker.
    static func name(_ code: rd_kafka_resp_err_t) -> String {
        rd_kafka_err2name(code).map { String(cString: $0) } ?? "\(code.rawValue)"
    }

    static func text(_ code: rd_kafka_resp_err_t) -> String {
        rd_kafka_err2str(code).map { String(cString: $0) } ?? name(code)
    }

    static func kind(_ code: rd_kafka_resp_err_t) -> EventLogError.Kind {
        switch code {
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, RD_KAFKA_RESP_ERR__AUTHENTICATION:
            .denied
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
            RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
            RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
            RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
            .invalid
        case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID: .fenced
        case RD_KAFKA_RESP_ERR__BAD_MSG, RD_KAFKA_RESP_ERR_INVALID_MSG: .corrupt
        default: .unavailable
        }
    }

    /// A topic that was there may be again: nothing is given up for it.
    static func isMissingTopic(_ code: rd_kafka_resp_err_t) -> Bool {
        code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
    }

    /// `what`: the call and its object; the other side's words follow.
    static func error(_ code: rd_kafka_resp_err_t, _ what: String, _ words: String? = nil) -> EventLogError {
        EventLogError(kind(code), "\(what): \(name(code)): \(words ?? text(code))")
    }
}

/// What an error of the transactional API asks for.
struct TransactionError: Error {
    enum Remedy: String {
        /// The same call again.
        case retry
        case abort
        /// Fatal, or of no class: only a new producer helps.
        case recreate
    }

    let code: rd_kafka_resp_err_t
    let remedy: Remedy
    let call: String
    let words: String

    /// Takes the error over; nil for none.
    init?(_ error: OpaquePointer?, _ call: String) {
        guard let error else { return nil }
        defer { rd_kafka_error_destroy(error) }
        code = rd_kafka_error_code(error)
        words = rd_kafka_error_string(error).map { String(cString: $0) } ?? ""
        self.call = call
        if rd_kafka_error_is_fatal(error) != 0 {
            remedy = .recreate
        } else if rd_kafka_error_txn_requires_abort(error) != 0 {
            remedy = .abort
        } else {
            remedy = rd_kafka_error_is_retriable(error) != 0 ? .retry : .recreate
        }
    }

    init(_ code: rd_kafka_resp_err_t, _ call: String, remedy: Remedy) {
        self.code = code
        self.call = call
        self.remedy = remedy
        words = KafkaError.text(code)
    }

    var eventLogError: EventLogError { KafkaError.error(code, call, words) }
}
