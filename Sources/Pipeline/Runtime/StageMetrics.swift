import Telemetry

struct RunnerMetrics: Sendable {
    let inFlight: Gauge
    let queuedBytes: Gauge
    let commits: Counter
    let rebalances: Counter

    init(group: String) {
        let labels = ["group": group]
        inFlight = Gauge("penstock_runner_in_flight_records", help: "Records being handled.", labels: labels)
        queuedBytes = Gauge(
            "penstock_runner_queued_bytes",
            help: "Records waiting or being handled.",
            labels: labels
        )
        commits = Counter("penstock_runner_commits_total", help: "Transactions committed.", labels: labels)
        rebalances = Counter(
            "penstock_runner_assignments_total",
            help: "Times partitions came here.",
            labels: labels
        )
    }
}

struct TurnMetrics: Sendable {
    let turns = Counter("penstock_turn_turns_total", help: "Turns that took effect here.")
    let adopted = Counter("penstock_turn_adopted_total", help: "Turns decided before, emitted again.")
    let duplicates = Counter("penstock_turn_duplicates_total", help: "Events that were delivered twice.")
    let dead = Counter("penstock_turn_dead_total", help: "Events given up.")
    let parked = Counter("penstock_turn_store_waits_total", help: "Waits for the object store.")
    let damaged = Counter("penstock_turn_damaged_total", help: "Stored turns that were not what was put.")
    let undecodable = Counter("penstock_turn_undecodable_total", help: "Records that are not events.")
}

struct DeliveryMetrics: Sendable {
    let sent = Counter("penstock_deliver_sent_total", help: "Pieces of replies that a platform took.")
    let failed = Counter("penstock_deliver_failed_total", help: "Replies given up.")
    let retried = Counter("penstock_deliver_retried_total", help: "Deliveries tried again.")
    let ambiguous = Counter("penstock_deliver_ambiguous_total", help: "Deliveries without an answer.")
}
