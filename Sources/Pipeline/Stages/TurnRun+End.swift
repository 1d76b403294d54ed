import Telemetry
import Topics

extension TurnRun {
    /// The store does not answer: the conversation waits, and with it its partition's position; late, not
    /// lost.
    func park(_ failure: TurnFailure) async throws(TurnFailure) {
        stage.metrics.parked.increment()
        stage.logger.warning("Turn waits for the store", metadata: [LogKeys.error: failure.detail])
        try await pause(.seconds(1))
    }

    func backOff(failures: Int, throttled: Bool) async throws(TurnFailure) {
        if case .throttled(let after?) = lastFailure.kind {
            return try await pause(min(after, .seconds(60)))
        }
        let seconds = Double(min(1 << min(failures - 1, 6), 60))
        stage.logger.warning(
            "Turn tried again later",
            metadata: [LogKeys.event: event.id, LogKeys.error: lastFailure.detail]
        )
        try await pause(.seconds(seconds * (0.5 + stage.chance.fraction() / 2)))
    }

    private func pause(_ duration: Duration) async throws(TurnFailure) {
        do {
            try await stage.time.sleep(duration)
        } catch {
            throw TurnFailure(.abandoned, "stopped while waiting")
        }
    }

    func conclude(_ finish: TurnProtocol.Finish) async -> [NewRecord] {
        let key = event.partitionkey
        switch finish {
        case .emitOwn:
            guard let slot = sealing else { preconditionFailure("nothing sealed") }
            stage.heads.insert(slot, requests, for: key, under: assignment)
            stage.metrics.turns.increment()
            await release(keeping: true)
            return outputs(of: slot)
        case .emitRead:
            guard let slot = met else { preconditionFailure("nothing read") }
            stage.metrics.adopted.increment()
            await release(keeping: false)
            return outputs(of: slot)
        case .duplicate, .forgotten:
            stage.metrics.duplicates.increment()
            stage.logger.debug("Event seen before", metadata: [LogKeys.event: event.id])
            return []
        }
    }

    private func outputs(of slot: Slot) -> [NewRecord] {
        slot.outbox.map {
            stage.sources.record($0, from: record, turn: slot.state.turn, stateHash: slot.stateHash)
        }
    }

    func release(keeping isKept: Bool) async {
        stage.live.publish(.finished, to: event.partitionkey)
        await workspace?.close(keeping: isKept)
        workspace = nil
    }
}
