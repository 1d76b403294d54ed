import JSON
package import Pipeline
package import Topics

/// Any program that can send JSON: CloudEvents 1.0 over HTTP in, replies by `GET /v1/replies`.
///
/// It speaks for the platform `webhook` and for any `x-…` of somebody's own, never for the built-in ones.
package struct CloudEvents: ChannelAdapter {
    static let path = "/v1/events"
    static let batchMax = 100
    private static let idBytesMax = 256

    private let access: EventsAccess
    private let chance: ChanceSource

    package init(access: EventsAccess, chance: ChanceSource) {
        self.access = access
        self.chance = chance
    }

    package var platform: String { "webhook" }

    package func serves(_ platform: String) -> Bool { Self.isOpen(platform) }

    static func isOpen(_ platform: String) -> Bool {
        if platform == "webhook" { return true }
        let name = platform.dropFirst(2)
        return platform.hasPrefix("x-") && (1...32).contains(name.utf8.count)
            && name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
    }

    package var routes: [ChannelRoute] { [ChannelRoute(Self.path, ["OPTIONS", "POST"])] }

    package func receive(
        _ request: HTTPRequest,
        at now: Timestamp
    ) throws(ReceiveError) -> Reception {
        if request.method == "OPTIONS" { return handshake(request) }
        let isVerified = try access.check(request, at: now)
        var events: [InboundEvent] = []
        for (index, form) in try forms(of: request).enumerated() {
            do {
                events.append(try event(form, isVerified: isVerified, at: now))
            } catch {
                let place = request.isBatch ? "[\(index)]." : ""
                throw ReceiveError(.malformed, place + error.detail)
            }
        }
        let conversations = events.map(\.partitionkey)
        let ours = events.filter { $0.data.sender.kind == .self }.count
        var reception = Reception(
            events: events.filter { $0.data.sender.kind != .self },
            ignored: [String](repeating: "self", count: ours),
            response: .json(202, ["accepted": []])
        )
        guard ours == 0, !events.isEmpty else { return reception }
        reception.respond = { ids in
            let accepted = zip(ids, conversations).map { id, conversation in
                JSONValue.object(["conversation": .string(conversation), "id": .string(id)])
            }
            return .json(202, ["accepted": .array(accepted)])
        }
        return reception
    }

    /// "May I send?" of the CloudEvents webhook: yes, at any rate; who may is checked with every event.
    private func handshake(_ request: HTTPRequest) -> Reception {
        var response = HTTPResponse.empty(200)
        response.fields["Allow"] = "OPTIONS, POST"
        if let origin = request.fields["WebHook-Request-Origin"] {
            response.fields["WebHook-Allowed-Origin"] = String(origin.prefix(256))
            response.fields["WebHook-Allowed-Rate"] = "*"
        }
        return Reception(ignored: ["handshake"], response: response)
    }

    private func forms(of request: HTTPRequest) throws(ReceiveError) -> [CloudEventForm] {
        // Never without a type: a page of another site can send a body without one, unasked.
        guard let type = request.mediaType, type.hasSuffix("json") else {
            throw ReceiveError(
                .unsupportedMediaType,
                "Content-Type must be application/cloudevents+json, application/cloudevents-batch+json, "
                    + "or application/json with ce- headers"
            )
        }
        if request.isBatch { return try batch(request.body) }
        do throws(EventDecodingError) {
            let isBinary = type != "application/cloudevents+json" && request.fields["ce-specversion"] != nil
            return [try isBinary ? binary(request) : CloudEventForm(structured: request.body)]
        } catch {
            throw ReceiveError(.malformed, error.detail)
        }
    }

    private func batch(_ body: [UInt8]) throws(ReceiveError) -> [CloudEventForm] {
        // The reader's words are for the sender of these very bytes.
        guard let elements = (try? JSONValue(json: body))?.arrayValue else {
            throw ReceiveError(.malformed, "body: not a JSON array")
        }
        guard elements.count <= Self.batchMax else {
            throw ReceiveError(.malformed, "body: more than \(Self.batchMax) events")
        }
        var forms: [CloudEventForm] = []
        for (index, element) in elements.enumerated() {
            do throws(EventDecodingError) {
                forms.append(try CloudEventForm(structured: element))
            } catch {
                throw ReceiveError(.malformed, "[\(index)].\(error.detail)")
            }
        }
        return forms
    }

    private func binary(_ request: HTTPRequest) throws(EventDecodingError) -> CloudEventForm {
        var attributes: [String: String] = [:]
        for field in request.fields.all where field.name.lowercased().hasPrefix("ce-") {
            let name = String(field.name.lowercased().dropFirst(3))
            guard let value = PercentCoding.headerValue(field.value) else {
                throw EventDecodingError(name, "not UTF-8 after percent-decoding")
            }
            guard attributes.updateValue(value, forKey: name) == nil else {
                throw EventDecodingError(name, "the header is there twice")
            }
        }
        return CloudEventForm(attributes: attributes, data: .bytes(request.body))
    }

    private func event(
        _ form: CloudEventForm,
        isVerified: Bool,
        at now: Timestamp
    ) throws(EventDecodingError) -> InboundEvent {
        let theirs = try InboundEvent(form, key: "", recordedtime: now)
        guard theirs.type != .unknown else {
            let allowed = EventType.allCases.filter { $0 != .unknown }.map(\.rawValue).joined(separator: ", ")
            throw EventDecodingError("type", "must be one of \(allowed)")
        }
        try check(theirs)
        var data = theirs.data
        data.ingress = EventIngress(
            adapter: "cloudevents",
            transport: "http",
            deliveryID: theirs.id,
            isVerified: isVerified
        )
        var event = InboundEvent(
            id: chance.identifier(),
            type: theirs.type,
            time: theirs.time,
            recordedtime: now,
            // Under their own source, whatever they say, so that they can only repeat themselves.
            dedupekey: "ce:\(theirs.source):\(form.attributes["dedupekey"] ?? theirs.id)",
            data: data
        )
        event.subject = theirs.subject
        event.expirytime = theirs.expirytime
        event.traceparent = theirs.traceparent
        event.hop = theirs.hop
        return event
    }

    private func check(_ event: InboundEvent) throws(EventDecodingError) {
        let data = event.data
        guard Self.isOpen(data.platform) else {
            throw EventDecodingError(
                "data.platform",
                "must be webhook, or x- and a name of your own in a-z, 0-9 and -"
            )
        }
        let ids: [(String, String?)] = [
            ("id", event.id), ("source", event.source), ("subject", event.subject),
            ("data.account.id", data.account.id), ("data.conversation.id", data.conversation.id),
            ("data.thread.id", data.thread?.id), ("data.message.id", data.message?.id),
            ("data.sender.id", data.sender.id), ("data.target_message_id", data.targetMessageID),
            ("traceparent", event.traceparent), ("dedupekey", event.dedupekey),
        ]
        for (name, id) in ids {
            guard let id else { continue }
            let isShort = (1...Self.idBytesMax * (name == "dedupekey" ? 3 : 1)).contains(id.utf8.count)
            guard isShort, id.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                throw EventDecodingError(
                    name,
                    "must have 1 to \(Self.idBytesMax) bytes without control characters"
                )
            }
        }
        if let handle = data.reply?.handle, handle.utf8.count > 4_096 {
            throw EventDecodingError("data.reply.handle", "longer than 4,096 bytes")
        }
    }

    package func chunks(of reply: Reply) -> [String] { [reply.text] }

    /// Replies are read from the log by `GET /v1/replies`: being there is being delivered.
    package func deliver(_ delivery: Delivery, over transport: any HTTPTransport) async -> DeliveryResult {
        .confirmed(platformID: delivery.reply.replyID)
    }

    package func reconcile(
        _ delivery: Delivery,
        over transport: any HTTPTransport
    ) async -> DeliveryResult {
        .confirmed(platformID: delivery.reply.replyID)
    }
}

extension HTTPRequest {
    fileprivate var isBatch: Bool { mediaType == "application/cloudevents-batch+json" }
}
