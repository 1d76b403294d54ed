import JSON
import Pipeline
import Topics

/// `penstock deadletters`: what could not be handled, and trying it again.
enum DeadLettersCommand {
    static let command = Command(
        name: "deadletters",
        summary: "records that could not be handled: list, show, redrive, drop",
        discussion: """
            Nothing is ever erased: redrive puts the record on its topic again, under a new event id;
            drop marks it as seen to. Both say so in the list with --all.
            """,
        subcommands: [
            Command(
                name: "list",
                summary: "those that wait for somebody",
                options: [.flag("all", "also those redriven or dropped")],
                run: list
            ),
            Command(name: "show", summary: "one, whole", operands: "ID", operandCount: 1...1, run: show),
            Command(
                name: "redrive",
                summary: "tries again",
                operands: "ID…",
                operandCount: 0...1_000,
                examples: [("penstock deadletters redrive --all", "everything that waits")],
                options: [.flag("all", "all that wait")],
                run: { invocation in try await settle(invocation, as: "redriven") }
            ),
            Command(
                name: "drop",
                summary: "marks as seen to",
                operands: "ID…",
                operandCount: 0...1_000,
                options: [.flag("all", "all that wait")],
                run: { invocation in try await settle(invocation, as: "dropped") }
            ),
        ]
    )

    private static func list(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        let desk = DeadLetterDesk(composition)
        var rows = [["ID", "TIME", "REASON", "ATTEMPTS", "STATE", "CONVERSATION"]]
        for item in try await desk.all() {
            let state = try await desk.state(of: item) ?? "waits"
            guard state == "waits" || invocation.has("all") else { continue }
            let letter = item.letter
            if invocation.isJSON {
                var value = (try JSONValue(json: letter.json)).objectValue ?? [:]
                value["id"] = .string(item.id)
                value["state"] = .string(state)
                Terminal.json(.object(value))
            }
            rows.append([
                item.id, letter.time.rfc3339, letter.reason, "\(letter.attempts)", state, letter.conversation,
            ])
        }
        guard !invocation.isJSON else { return 0 }
        rows.count > 1 ? Terminal.table(rows) : Terminal.line("There are no dead letters.")
        return 0
    }

    private static func show(_ invocation: Invocation) async throws -> Int32 {
        let desk = DeadLetterDesk(try await Composition(try SettingsFile.load(invocation)))
        let item = try await desk.item(invocation.operands[0])
        if invocation.isJSON {
            Terminal.line(String(decoding: item.letter.json, as: UTF8.self))
            return 0
        }
        let letter = item.letter
        Terminal.table([
            ["id", item.id], ["from", "\(letter.topic)/\(letter.partition) at \(letter.offset)"],
            ["conversation", letter.conversation], ["event", letter.eventID ?? "-"],
            ["reason", letter.reason], ["detail", letter.detail], ["attempts", "\(letter.attempts)"],
            ["given up", "\(letter.time.rfc3339) by \(letter.worker)"],
            ["state", try await desk.state(of: item) ?? "waits"],
        ])
        Terminal.line(String(decoding: Base64.decode(letter.payload) ?? [], as: UTF8.self))
        return 0
    }

    private static func settle(_ invocation: Invocation, as state: String) async throws -> Int32 {
        let desk = DeadLetterDesk(try await Composition(try SettingsFile.load(invocation)))
        var items: [DeadLetterDesk.Item] = []
        if invocation.has("all") {
            for item in try await desk.all() where try await desk.state(of: item) == nil {
                items.append(item)
            }
        } else {
            guard !invocation.operands.isEmpty else {
                throw UsageError("say which: an ID of the list, or --all")
            }
            for id in invocation.operands { items.append(try await desk.item(id)) }
        }
        for item in items {
            if let old = try await desk.state(of: item) {
                throw Failure("\(item.id) was \(old) already")
            }
            if state == "redriven" { try await desk.redrive(item) }
            try await desk.mark(item, as: state)
            Terminal.line("\(item.id): \(state)")
        }
        if items.isEmpty { Terminal.line("There was nothing to do.") }
        return 0
    }
}

/// Reads dead letters from their topic; what was done about each is an object in the store.
struct DeadLetterDesk: Sendable {
    struct Item: Sendable {
        /// Partition and offset on the dead letters' topic: `3-17`.
        let id: String
        let letter: DeadLetter
    }

    private let composition: Composition
    private var topic: String { composition.full(DeadLettersTopic.topic) }

    init(_ composition: Composition) {
        self.composition = composition
    }

    func all() async throws -> [Item] {
        var items: [Item] = []
        for (partition, bounds) in try await composition.log.bounds(of: topic).enumerated() {
            let place = TopicPartition(topic, Int32(partition))
            var offset = bounds.first
            while offset < bounds.next {
                let page = try await composition.log.read(place, from: offset, recordsMax: 500, wait: .zero)
                guard !page.records.isEmpty else { break }
                for record in page.records { items += try item(record) }
                offset = page.next
            }
        }
        return items.sorted { $0.letter.time < $1.letter.time }
    }

    func item(_ id: String) async throws -> Item {
        let parts = id.split(separator: "-")
        guard parts.count == 2, let partition = Int32(parts[0]), let offset = Int64(parts[1]) else {
            throw UsageError(
                "\(id) is no dead letter's id; they look like 3-17: see penstock deadletters list"
            )
        }
        let place = TopicPartition(topic, partition)
        let count = try await composition.log.bounds(of: topic).count
        guard partition >= 0, partition < count else { throw Failure("there is no dead letter \(id)") }
        let page = try await composition.log.read(place, from: offset, recordsMax: 1, wait: .zero)
        guard let record = page.records.first, record.offset == offset, let item = try item(record).first
        else {
            throw Failure("there is no dead letter \(id)")
        }
        return item
    }

    private func item(_ record: LogRecord) throws -> [Item] {
        let id = "\(record.position.partition.partition)-\(record.offset)"
        do {
            return [Item(id: id, letter: try DeadLetter(json: record.value))]
        } catch {
            throw Failure("dead letter \(id) can not be read: \(error)")
        }
    }

    func state(of item: Item) async throws -> String? {
        guard let object = try await composition.store.get(key(item)) else { return nil }
        return try JSONValue(json: object.body)["state"]?.stringValue
    }

    func mark(_ item: Item, as state: String) async throws {
        let value: JSONValue = ["state": .string(state), "time": .string(composition.time.now().rfc3339)]
        _ = try await composition.store.put(key(item), value.json, if: .absent)
    }

    private func key(_ item: Item) -> String { "deadletters/\(composition.log.identity)/\(item.id)" }

    /// Puts the record on its topic again. An event gets an id and a dedupe key of its own, the same each
    /// time: tried again after a crash here, it is still one event.
    func redrive(_ item: Item) async throws {
        let letter = item.letter
        guard let value = Base64.decode(letter.payload), let key = Base64.decode(letter.key) else {
            throw Failure("\(item.id): its payload is not what we write")
        }
        let topic = composition.settings.topicPrefix + letter.topic
        let headers = letter.headers.compactMap { header in
            Base64.decode(header.value).map { LogHeader(header.name, $0) }
        }
        var record = NewRecord(topic: topic, key: "-", headers: headers, value: value)
        record.key = key.isEmpty ? Array(letter.recordKey.utf8) : key
        if letter.topic == EventsTopic.topic.name, var event = Self.event(record, letter) {
            event.id += ":redrive:\(item.id)"
            event.dedupekey += ":redrive:\(item.id)"
            record = event.record(topic: topic)
        }
        record.headers.append(LogHeader("x-redrive-of", item.id))
        _ = try await composition.log.append([record])
    }

    /// Nil for what is no event: it goes back as it was, for whoever has learned to read it.
    private static func event(_ record: NewRecord, _ letter: DeadLetter) -> InboundEvent? {
        let place = TopicPartition(record.topic, Int32(letter.partition))
        // Why it can not be read stands in the letter.
        return try? InboundEvent(
            LogRecord(
                position: RecordPosition(place, letter.offset),
                time: letter.time,
                key: record.key,
                headers: record.headers,
                value: record.value
            )
        )
    }
}
