import JSON
import Telemetry
import Topics

/// Takes one reply to its platform, piece by piece, and says what became of it.
///
/// The ledger in the object store is written around each send: an entry without an outcome means that the
/// send may have happened, and then the platform is asked before anything is sent again.
package struct DeliverStage: RecordStage {
    package struct Settings: Sendable, Hashable {
        /// Tries of one piece that count; being throttled does not.
        package var attemptsMax: Int
        /// How long a piece may be tried, throttled or not.
        package var patience: Duration
        /// What to do when a platform cannot say whether a piece arrived: send it again, or leave it.
        package var resendsWhenUnsure: Bool

        package init(attemptsMax: Int, patience: Duration, resendsWhenUnsure: Bool) {
            self.attemptsMax = attemptsMax
            self.patience = patience
            self.resendsWhenUnsure = resendsWhenUnsure
        }
    }

    private let adapters: [any ChannelAdapter]
    private let transport: any HTTPTransport
    private let ledger: DeliveryLedger
    private let settings: Settings
    private let sources: SourceNaming
    private let worker: WorkerIdentity
    private let time: TimeSource
    private let chance: ChanceSource
    private let metrics = DeliveryMetrics()
    private let logger = Logger(label: "deliver")

    package init(
        adapters: [any ChannelAdapter],
        transport: any HTTPTransport,
        store: any ObjectStore,
        settings: Settings,
        sources: SourceNaming,
        worker: WorkerIdentity,
        time: TimeSource,
        chance: ChanceSource
    ) {
        self.adapters = adapters
        self.transport = transport
        ledger = DeliveryLedger(store)
        self.settings = settings
        self.sources = sources
        self.worker = worker
        self.time = time
        self.chance = chance
    }

    package func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]? {
        let reply: Reply
        do throws(JSONError) {
            reply = try Reply(json: record.value)
        } catch {
            return [deadLetter(record, nil, reason: "undecodable", detail: "\(error.path): \(error.message)")]
        }
        guard let adapter = adapters.first(where: { $0.serves(reply.platform) }) else {
            let reason = "no channel \"\(reply.platform)\" is set up here"
            return given(up: reply, chunk: 0, code: "channel_not_set_up", reason: reason, attempts: 0, record)
        }
        var outputs: [NewRecord] = []
        for (index, text) in adapter.chunks(of: reply).enumerated() {
            let delivery = Delivery(reply: reply, chunk: index, text: text)
            var attempt = DeliveryAttempt(
                delivery,
                mayBeSent: record.offset < assignment.freshFrom,
                startedAt: time.now()
            )
            let outcome: DeliveryOutcome?
            do throws(TurnFailure) {
                outcome = try await settle(&attempt, by: adapter, in: assignment)
            } catch {
                return nil
            }
            switch outcome {
            case nil: return nil
            case .sent(let platformID):
                outputs.append(receipt(reply, index, .sent, platformID: platformID, attempts: attempt.sends))
            case .unsure(let reason):
                metrics.ambiguous.increment()
                outputs.append(receipt(reply, index, .ambiguous, reason: reason, attempts: attempt.sends))
            case .failed(let code, let reason):
                return outputs
                    + given(
                        up: reply,
                        chunk: index,
                        code: code,
                        reason: reason,
                        attempts: attempt.sends,
                        record
                    )
            }
        }
        return outputs
    }

    /// Sends one piece until it is decided; nil when the assignment ended first.
    private func settle(
        _ attempt: inout DeliveryAttempt,
        by adapter: any ChannelAdapter,
        in assignment: Assignment
    ) async throws(TurnFailure) -> DeliveryOutcome? {
        var step = DeliveryAttempt.Step.lookUp
        while assignment.isAlive, !Task.isCancelled {
            switch step {
            case .lookUp:
                let entry =
                    attempt.mayBeSent
                    ? try await patiently { () async throws(ObjectStoreError) in
                        try await ledger.entry(of: attempt.delivery)
                    } : nil
                step = attempt.found(entry)
            case .send:
                try await patiently { () async throws(ObjectStoreError) in
                    try await ledger.note(attempt.delivery, .started)
                }
                let result = await adapter.deliver(attempt.delivery, over: transport)
                step = attempt.answered(result, settings, now: time.now())
                if case .wait = step { metrics.retried.increment() }
            case .reconcile:
                step = attempt.reconciled(
                    await adapter.reconcile(attempt.delivery, over: transport),
                    settings,
                    now: time.now()
                )
            case .wait(let duration, let reason):
                logger.warning(
                    "Delivery tried again later",
                    metadata: [LogKeys.channel: adapter.platform, LogKeys.reason: reason]
                )
                try await pause(duration ?? backOff(attempt.sends))
                step = attempt.waited()
            case .over(let outcome):
                if case .sent(let platformID) = outcome {
                    metrics.sent.increment()
                    try await patiently { () async throws(ObjectStoreError) in
                        try await ledger.note(attempt.delivery, .sent(platformID: platformID))
                    }
                }
                return outcome
            }
        }
        return nil
    }

    private func backOff(_ sends: Int) -> Duration {
        .seconds(Double(min(1 << min(max(sends - 1, 0), 8), 300)) * (0.5 + chance.fraction() / 2))
    }

    private func pause(_ duration: Duration) async throws(TurnFailure) {
        do {
            try await time.sleep(duration)
        } catch {
            throw TurnFailure(.abandoned, "stopped while waiting")
        }
    }

    /// Tries until the store answers: without the ledger nothing may be sent.
    private func patiently<Value>(
        _ body: () async throws(ObjectStoreError) -> Value
    ) async throws(TurnFailure) -> Value {
        while true {
            do throws(ObjectStoreError) {
                return try await body()
            } catch {
                logger.warning("Delivery waits for the store", metadata: [LogKeys.error: error.detail])
                try await pause(.seconds(1))
            }
        }
    }
}

// What is said of it.
extension DeliverStage {
    package func refused(_ record: LogRecord, detail: String) -> [NewRecord] {
        [deadLetter(record, nil, reason: "outputs_refused", detail: detail)]
    }

    private func receipt(
        _ reply: Reply,
        _ chunk: Int,
        _ state: ReceiptState,
        platformID: String? = nil,
        code: String? = nil,
        reason: String? = nil,
        attempts: Int
    ) -> NewRecord {
        var receipt = Receipt()
        receipt.conversation = reply.conversation
        receipt.platform = reply.platform
        receipt.replyID = reply.replyID
        receipt.chunk = chunk
        receipt.state = state
        receipt.platformMessageID = platformID
        receipt.code = code
        receipt.reason = reason.map { String($0.prefix(1_000)) }
        receipt.attempts = attempts
        receipt.time = time.now()
        return sources.record(
            OutboxRecord(topic: ReceiptsTopic.topic.name, key: reply.conversation, value: receipt)
        )
    }

    private func given(
        up reply: Reply,
        chunk: Int,
        code: String,
        reason: String,
        attempts: Int,
        _ record: LogRecord
    ) -> [NewRecord] {
        metrics.failed.increment()
        logger.error(
            "Reply given up",
            metadata: [LogKeys.reply: reply.replyID, LogKeys.code: code, LogKeys.reason: reason]
        )
        return [
            receipt(reply, chunk, .failed, code: code, reason: reason, attempts: attempts),
            deadLetter(record, reply, reason: code, detail: reason, attempts: attempts),
        ]
    }

    private func deadLetter(
        _ record: LogRecord,
        _ reply: Reply?,
        reason: String,
        detail: String,
        attempts: Int = 0
    ) -> NewRecord {
        let letter = DeadLetter(
            record,
            topic: sources.plain(record.position.partition.topic),
            conversation: reply?.conversation,
            eventID: reply?.inResponseTo,
            reason: reason,
            detail: detail,
            attempts: attempts,
            worker: worker.name,
            at: time.now()
        )
        return sources.record(
            OutboxRecord(topic: DeadLettersTopic.topic.name, key: letter.recordKey, value: letter)
        )
    }
}
