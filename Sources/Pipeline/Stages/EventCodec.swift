import JSON
package import Topics

// CloudEvents 1.0, Kafka protocol binding, binary mode: attributes are `ce_` headers in plain UTF-8, the data
// is the value, and the key is `partitionkey`.
extension InboundEvent {
    package func record(topic: String) -> NewRecord {
        var headers = [
            LogHeader("content-type", "application/json"),
            LogHeader("ce_specversion", "1.0"),
            LogHeader("ce_id", id),
            LogHeader("ce_source", source),
            LogHeader("ce_type", type.attribute),
            LogHeader("ce_time", time.rfc3339),
            LogHeader("ce_dataschema", EventData.dataSchema),
            LogHeader("ce_partitionkey", partitionkey),
            LogHeader("ce_dedupekey", dedupekey),
            LogHeader("ce_sessionkey", sessionkey),
            LogHeader("ce_recordedtime", recordedtime.rfc3339),
        ]
        if let subject { headers.append(LogHeader("ce_subject", subject)) }
        if let expirytime { headers.append(LogHeader("ce_expirytime", expirytime.rfc3339)) }
        if let traceparent { headers.append(LogHeader("ce_traceparent", traceparent)) }
        if let hop { headers.append(LogHeader("ce_hop", "\(hop)")) }
        return NewRecord(topic: topic, key: partitionkey, headers: headers, value: data.json)
    }

    /// Also of producers that are not ours: structured mode, and what they leave out that can be known.
    package init(_ record: LogRecord) throws(EventDecodingError) {
        guard let key = String(validating: record.key, as: UTF8.self) else {
            throw EventDecodingError("key", "not UTF-8")
        }
        guard !record.value.isEmpty else { throw EventDecodingError("data", "the record has no value") }
        let form: CloudEventForm
        if Self.isStructured(record) {
            form = try CloudEventForm(structured: record.value)
        } else {
            form = CloudEventForm(attributes: try Self.attributes(of: record), data: .bytes(record.value))
        }
        try self.init(form, key: key, recordedtime: record.time)
    }

    private static func isStructured(_ record: LogRecord) -> Bool {
        guard let type = record.header("content-type") else { return false }
        return String(decoding: type, as: UTF8.self).lowercased().hasPrefix("application/cloudevents")
    }

    private static func attributes(of record: LogRecord) throws(EventDecodingError) -> [String: String] {
        var attributes: [String: String] = [:]
        for header in record.headers where header.name.hasPrefix("ce_") {
            let name = String(header.name.dropFirst(3))
            guard let value = String(validating: header.value, as: UTF8.self) else {
                throw EventDecodingError(name, "not UTF-8")
            }
            attributes[name] = value
        }
        return attributes
    }

    /// The record's key decides, whatever `partitionkey` says, because the order does; it is empty for an
    /// event that is not on the log yet. `recordedtime` is for an event that does not say it.
    package init(_ form: CloudEventForm, key: String, recordedtime: Timestamp) throws(EventDecodingError) {
        let type = EventType(attribute: try form.required("type"))
        let id = try form.required("id")
        let source = try form.required("source")
        try form.checkVersion()
        let recorded = try form.time("recordedtime") ?? recordedtime
        self.init(
            id: id,
            type: type,
            time: try form.time("time") ?? recorded,
            recordedtime: recorded,
            dedupekey: form.attributes["dedupekey"] ?? "ce:\(source):\(id)",
            data: try form.eventData(type)
        )
        self.source = source
        partitionkey = key.isEmpty ? form.attributes["partitionkey"] ?? partitionkey : key
        sessionkey =
            form.attributes["sessionkey"] ?? data.thread.map { "\(partitionkey):\($0.id)" } ?? partitionkey
        subject = form.attributes["subject"] ?? subject
        expirytime = try form.time("expirytime")
        traceparent = form.attributes["traceparent"]
        if let text = form.attributes["hop"] {
            guard let hop = UInt16(strictly: text) else {
                throw EventDecodingError("hop", "not a number from 0 to 65535")
            }
            self.hop = Int(hop)
        }
    }
}
