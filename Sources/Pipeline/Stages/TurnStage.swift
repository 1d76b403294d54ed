import JSON
import Telemetry
import Topics

/// Takes one event to its turn: runs the protocol of `TurnProtocol` against the store, and the agent in
/// between.
package final class TurnStage: RecordStage {
    let agent: Agent
    let store: TurnStore
    let folders: any WorkspaceFolders
    let worker: WorkerIdentity
    let sources: SourceNaming
    let time: TimeSource
    let chance: ChanceSource
    let live: LiveFeed
    let heads: HeadCache
    let tried: TriedOffsets
    let sealGate = SealGate(places: 512)
    let faults: FaultPoints
    /// Restores a conversation's newest slots from the log; false when the log does not have them.
    let restore: @Sendable (_ conversation: String) async throws(TurnFailure) -> Bool
    let metrics = TurnMetrics()
    let logger = Logger(label: "turn")

    package init(
        agent: Agent,
        store: any ObjectStore,
        folders: any WorkspaceFolders,
        worker: WorkerIdentity,
        sources: SourceNaming,
        time: TimeSource,
        chance: ChanceSource,
        live: LiveFeed,
        faults: FaultPoints = .none,
        restore: @escaping @Sendable (String) async throws(TurnFailure) -> Bool = { _ in false }
    ) {
        self.faults = faults
        self.restore = restore
        self.agent = agent
        self.store = TurnStore(store)
        self.folders = folders
        self.worker = worker
        self.sources = sources
        self.time = time
        self.chance = chance
        self.live = live
        heads = HeadCache(capacity: 4_096)
        tried = TriedOffsets(self.store, sources)
    }

    package func handle(_ record: LogRecord, in assignment: Assignment) async -> [NewRecord]? {
        let turn: TurnRun
        do throws(EventDecodingError) {
            let event = try InboundEvent(record)
            turn = TurnRun(event: event, record: record, assignment: assignment, stage: self)
        } catch {
            metrics.undecodable.increment()
            logger.warning(
                "Event not decodable",
                metadata: [LogKeys.position: "\(record.position)", LogKeys.error: error.detail]
            )
            return [deadLetter(record, event: nil, reason: "undecodable", detail: error.detail, attempts: 0)]
        }
        do throws(TurnFailure) {
            return try await turn.finish()
        } catch {
            guard error.kind == .permanent || error.kind == .unreadable else { return nil }
            // The conversation's own state cannot be read: the event is kept whole where a person finds it.
            logger.error(
                "Turn not possible",
                metadata: [LogKeys.event: turn.event.id, LogKeys.error: error.detail]
            )
            return [
                deadLetter(
                    record,
                    event: turn.event,
                    reason: "state_unreadable",
                    detail: error.detail,
                    attempts: 0
                )
            ]
        }
    }

    package func refused(_ record: LogRecord, detail: String) -> [NewRecord] {
        // Undecodable ones have had their only outputs, which name no event.
        let event = try? InboundEvent(record)
        return [deadLetter(record, event: event, reason: "outputs_refused", detail: detail, attempts: 1)]
    }

    private func deadLetter(
        _ record: LogRecord,
        event: InboundEvent?,
        reason: String,
        detail: String,
        attempts: Int
    ) -> NewRecord {
        let letter = DeadLetter(
            record,
            topic: sources.plain(record.position.partition.topic),
            conversation: event?.partitionkey,
            eventID: event?.id,
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

/// Who runs turns, as it is written into slots and turn records.
package struct WorkerIdentity: Sendable, Hashable {
    package let name: String
    package let version: String

    package init(name: String, version: String) {
        self.name = name
        self.version = version
    }
}
