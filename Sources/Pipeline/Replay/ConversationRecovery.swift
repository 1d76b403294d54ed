import JSON
import Topics

/// Restores the newest turns of one conversation from the log, for a worker that met damage.
///
/// The object put back is the one that was lost, checked by its state's hash, and its record is on the log:
/// so it had won, and writing it again over the damage decides nothing anew.
package struct ConversationRecovery: Sendable {
    private let log: any EventLog
    private let topicPrefix: String
    private let restorer: TurnRestorer
    /// How far back a readable turn is looked for.
    private static let stepsMax: Int64 = 64

    package init(log: any EventLog, topicPrefix: String, store: any ObjectStore) {
        self.log = log
        self.topicPrefix = topicPrefix
        restorer = TurnRestorer(store)
    }

    /// False when the log does not have what is needed.
    package func restore(_ conversation: String) async throws(TurnFailure) -> Bool {
        let keys = ConversationKeys(conversation)
        guard let newest = try await restorer.store.newestTurn(keys) else { return false }
        let base = try await readable(below: newest, keys)
        do {
            var turns = try await turns(of: conversation, after: base, to: newest)
            guard turns.last?.turn == newest else { return false }
            // Without a turn to start from, the first whole state on the log is as good.
            if base == nil, turns.first?.turn != 1 { turns = Array(turns.drop { !Self.isWhole($0) }) }
            var previous = base
            for turn in turns { previous = try await restorer.put(turn, after: previous).slot }
            return previous?.state.turn == newest
        } catch let error as TurnFailure {
            throw error
        } catch let error as EventLogError {
            throw TurnFailure(.store, "the log: \(error.detail)")
        } catch {
            return false
        }
    }

    private static func isWhole(_ turn: LoggedTurn) -> Bool {
        // Not readable: then it is not whole either.
        (try? turn.record.change.map { try StateChange(json: $0.bytes) })??.state != nil
    }

    private func readable(below newest: Int64, _ keys: ConversationKeys) async throws(TurnFailure) -> Slot? {
        var turn = newest - 1
        while turn > 0, turn >= newest - Self.stepsMax {
            do throws(TurnFailure) {
                if let slot = try await restorer.store.slot(turn, of: keys) { return slot }
            } catch {
                guard error.kind == .unreadable else { throw error }
            }
            turn -= 1
        }
        return nil
    }

    private func turns(
        of conversation: String,
        after base: Slot?,
        to newest: Int64
    ) async throws -> [LoggedTurn] {
        let key = Array(conversation.utf8)
        // Clocks of workers and of the log differ; a record is appended after its turn was sealed.
        let since = base.map { $0.sealedAt + .seconds(-300) }
        var records = try await reader(TurnsTopic.topic, key, since)
        var replies = EmittedRecords(try await reader(RepliesTopic.topic, key, since))
        var letters = EmittedRecords(try await reader(DeadLettersTopic.topic, key, since))
        var turns: [LoggedTurn] = []
        let first = (base?.state.turn ?? 0) + 1
        while let record = try await records.next() {
            guard record.key == key, var turn = LoggedTurn(record), turn.turn >= first else { continue }
            turn.replies = try await replies.take(conversation, turn.turn, wanted: turn.record.replies.count)
            if turn.record.outcome == .dead {
                turn.letters = try await letters.take(conversation, turn.turn, wanted: 1)
            }
            turns.append(turn)
            if turn.turn == newest { break }
        }
        return turns
    }

    private func reader(_ topic: Topic, _ key: [UInt8], _ since: Timestamp?) async throws -> PartitionReader {
        let name = topicPrefix + topic.name
        let bounds = try await log.bounds(of: name)
        let number = Partitioner.partition(of: key, among: Int32(bounds.count))
        let partition = TopicPartition(name, number)
        let own = bounds[Int(number)]
        let start =
            if let since { try await log.offset(in: partition, at: since, within: own) } else { own.first }
        return PartitionReader(log, partition, from: start, end: own.next)
    }
}
