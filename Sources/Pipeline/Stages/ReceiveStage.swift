import JSON
import Telemetry
package import Topics

/// Takes a platform's request to the log: verify, normalize, append, and only then answer.
///
/// Every 2xx answer says in `Penstock-Delivery` what became of the request: `durable; id=…` once it is on the
/// log, `duplicate; id=…` when it surely was there before, `ignored; reason=…` when there was nothing to
/// append.
package struct ReceiveStage: Sendable {
    package static let deliveryField = "Penstock-Delivery"
    /// Beyond this many, the field says the count only.
    private static let idsShownMax = 100

    private let routes: [String: (route: ChannelRoute, adapter: any ChannelAdapter)]
    private let log: any EventLog
    private let eventsTopic: String
    private let receiptsTopic: String
    private let now: @Sendable () -> Timestamp
    private let recent: RecentDeliveries
    private let metrics: ReceiveMetrics
    private let logger = Logger(label: "receive")

    /// `topicPrefix` is `penstock.` unless set otherwise.
    package init(
        adapters: [any ChannelAdapter],
        log: any EventLog,
        topicPrefix: String,
        now: @escaping @Sendable () -> Timestamp
    ) {
        var routes: [String: (route: ChannelRoute, adapter: any ChannelAdapter)] = [:]
        for adapter in adapters {
            for route in adapter.routes {
                precondition(routes[route.path] == nil, "two adapters want \(route.path)")
                routes[route.path] = (route, adapter)
            }
        }
        self.routes = routes
        self.log = log
        eventsTopic = topicPrefix + EventsTopic.topic.name
        receiptsTopic = topicPrefix + ReceiptsTopic.topic.name
        self.now = now
        recent = RecentDeliveries(capacity: 65_536)
        metrics = ReceiveMetrics(platforms: adapters.map(\.platform))
    }

    package func serves(_ path: String) -> Bool { routes[path] != nil }

    /// Must not be cancelled when the sender leaves: what is appended stays appended.
    package func answer(_ request: HTTPRequest) async -> HTTPResponse {
        guard let (route, adapter) = routes[request.path] else {
            return refused(.error(404, "nothing is served at this path"), request, nil, "no such path")
        }
        guard route.methods.contains(request.method) else {
            return refused(.methodNotAllowed(route.methods), request, adapter, "method not allowed")
        }
        do {
            let reception = try adapter.receive(request, at: now())
            return await take(reception, from: request, by: adapter)
        } catch {
            return refused(error.response(allowing: route.methods), request, adapter, error.detail)
        }
    }

    private func take(
        _ reception: Reception,
        from request: HTTPRequest,
        by adapter: any ChannelAdapter
    ) async -> HTTPResponse {
        var sorting = DeliverySorting(known: recent)
        for event in reception.events { sorting.add(event) }
        let records: [NewRecord]
        do {
            records = try self.records(sorting.fresh, reception)
        } catch {
            return refused(.error(413, error.detail), request, adapter, error.detail)
        }
        if !records.isEmpty {
            do {
                _ = try await log.append(records)
            } catch {
                return refused(unavailable(error), request, adapter, "log: \(error.detail)")
            }
            recent.note(sorting.fresh)
        }
        metrics.count(sorting, reception, of: adapter.platform)
        var response = reception.respond?(sorting.ids) ?? reception.response
        response.fields[Self.deliveryField] = Self.delivery(sorting, reception)
        return response
    }

    /// The other half is for its dead letter, which carries it whole, as Base64.
    private var eventBytesMax: Int { log.recordBytesMax / 2 }

    private func records(
        _ events: [InboundEvent],
        _ reception: Reception
    ) throws(EventLogError) -> [NewRecord] {
        let isBatch = reception.events.count + reception.receipts.count > 1
        var records: [NewRecord] = []
        for event in events {
            var record = event.record(topic: eventsTopic)
            // In a batch one that is too large must not keep the others out for ever.
            if record.byteCount > eventBytesMax, isBatch {
                record = event.shortened().record(topic: eventsTopic)
            }
            guard record.byteCount <= eventBytesMax else {
                throw EventLogError(
                    .invalid,
                    "an event of \(record.byteCount) bytes is over the limit of \(eventBytesMax)"
                )
            }
            records.append(record)
        }
        for receipt in reception.receipts {
            records.append(
                NewRecord(
                    topic: receiptsTopic,
                    key: receipt.conversation,
                    headers: [LogHeader("content-type", "application/json")],
                    value: receipt.json
                )
            )
        }
        return records
    }

    private func unavailable(_ error: EventLogError) -> HTTPResponse {
        guard error.kind != .invalid else { return .error(500, "the log refuses this event") }
        // It may be on the log all the same: the repeat will carry the same dedupekey.
        return ReceiveError(.unavailable, "the log does not accept events now").response(allowing: [])
    }

    private func refused(
        _ response: HTTPResponse,
        _ request: HTTPRequest,
        _ adapter: (any ChannelAdapter)?,
        _ reason: String
    ) -> HTTPResponse {
        metrics.refused.increment()
        logger.warning(
            "Request refused",
            metadata: [
                LogKeys.channel: adapter?.platform ?? "none", LogKeys.path: String(request.path.prefix(128)),
                LogKeys.status: "\(response.status)", LogKeys.reason: reason,
            ]
        )
        return response
    }

    private static func delivery(_ sorting: DeliverySorting, _ reception: Reception) -> String {
        guard !sorting.ids.isEmpty || !reception.receipts.isEmpty else {
            return "ignored; reason=\(reception.ignored.first ?? "nothing_to_append")"
        }
        var parts = [sorting.fresh.isEmpty && reception.receipts.isEmpty ? "duplicate" : "durable"]
        if !sorting.ids.isEmpty {
            parts.append("id=" + sorting.ids.prefix(idsShownMax).joined(separator: ","))
        }
        if sorting.ids.count > idsShownMax { parts.append("count=\(sorting.ids.count)") }
        if !reception.receipts.isEmpty { parts.append("receipts=\(reception.receipts.count)") }
        return parts.joined(separator: "; ")
    }
}

private struct ReceiveMetrics: Sendable {
    let refused = Counter("penstock_receive_refused_total", help: "Requests of platforms refused.")
    private let duplicates = Counter(
        "penstock_receive_duplicates_total",
        help: "Events known to be on the log."
    )
    private let receipts = Counter("penstock_receive_receipts_total", help: "Statuses of platforms appended.")
    private let events: [String: Counter]

    init(platforms: [String]) {
        let pairs = platforms.map { platform in
            (
                platform,
                Counter(
                    "penstock_receive_events_total",
                    help: "Events appended.",
                    labels: ["platform": platform]
                )
            )
        }
        events = Dictionary(pairs) { first, _ in first }
    }

    func count(_ sorting: DeliverySorting, _ reception: Reception, of platform: String) {
        events[platform]?.increment(by: sorting.fresh.count)
        duplicates.increment(by: reception.events.count - sorting.fresh.count)
        receipts.increment(by: reception.receipts.count)
    }
}

extension InboundEvent {
    /// With the beginning of its text only, and that said.
    fileprivate func shortened() -> InboundEvent {
        var event = self
        if let text = event.data.message?.text, text.utf8.count > 32_768 {
            event.data.message?.text = String(decoding: text.utf8.prefix(32_768), as: UTF8.self)
            event.data.message?.isTruncated = true
            event.data.message?.mentions = []
        }
        event.data.raw?.inline = nil
        return event
    }
}
