import Telemetry

struct TransactionMetrics: Sendable {
    let committed: Counter
    private let labels: [String: String]

    init(_ id: String) {
        labels = ["transactions": id]
        committed = Counter(
            "penstock_kafka_transactions_total",
            help: "Transactions committed.",
            labels: labels
        )
    }

    /// `error`: librdkafka's short name for it.
    func aborted(by error: String) {
        Counter(
            "penstock_kafka_aborts_total",
            help: "Transactions given up, by the error; the producer is made anew after each.",
            labels: labels.merging(["error": error]) { $1 }
        ).increment()
    }
}

struct MemberMetrics: Sendable {
    let rebalances: Counter
    let lost: Counter
    let partitions: Gauge
    let lag: Gauge

    init(group: String) {
        let labels = ["group": group]
        rebalances = Counter(
            "penstock_kafka_rebalances_total",
            help: "Assignments and revocations that reached this member.",
            labels: labels
        )
        lost = Counter(
            "penstock_kafka_partitions_lost_total",
            help: "Partitions that were another's before we knew.",
            labels: labels
        )
        partitions = Gauge("penstock_kafka_partitions", help: "Partitions held.", labels: labels)
        lag = Gauge(
            "penstock_kafka_lag_records",
            help: "Committed records of the partitions held that are not done.",
            labels: labels
        )
    }
}
