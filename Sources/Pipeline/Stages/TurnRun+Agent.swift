import JSON
import Telemetry
import Topics

extension TurnRun {
    mutating func execute(turn: Int64, attempt: Int) async throws(TurnFailure) -> TurnProtocol.Observation {
        let before = head?.state ?? ConversationState(conversation: event.partitionkey)
        let isForAgent = stage.agent.answers(event)
        var draft = TurnDraft(state: before, event: event, isForAgent: isForAgent)
        let assignment = assignment
        var steps = StepRecorder(
            store: stage.store,
            keys: keys,
            turn: turn,
            source: source,
            readsJournal: mayBeJournaled || attempt > 1,
            isAlive: { assignment.isAlive && !Task.isCancelled },
            faults: stage.faults
        )
        var files =
            workspace
            ?? TurnWorkspace(
                tree: before.workspace,
                conversation: event.partitionkey,
                folders: stage.folders
            )
        files.tree = before.workspace
        mayBeJournaled = true
        if isForAgent { stage.live.publish(.started(eventID: event.id), to: event.partitionkey) }
        do throws(TurnFailure) {
            if isForAgent { try await answer(&draft, &steps, &files) }
            workspace = files
            draft.state.workspace = files.tree
            sealing = try await slot(draft, steps: steps.steps, outcome: isForAgent ? .answered : .noted)
            return .executed
        } catch {
            workspace = files
            stage.live.publish(.failed, to: event.partitionkey)
            lastFailure = error
            switch error.kind {
            case .transient: return .failed(.transient)
            case .throttled: return .failed(.throttled)
            case .permanent, .unreadable: return .failed(.permanent)
            case .store, .abandoned: throw error
            }
        }
    }

    /// The agent's answer within its deadline.
    private func answer(
        _ draft: inout TurnDraft,
        _ steps: inout StepRecorder,
        _ files: inout TurnWorkspace
    ) async throws(TurnFailure) {
        let key = event.partitionkey
        let live = stage.live
        let seed = (draft, steps, files)
        let agent = stage.agent
        let (result, isLate) = await Deadline.run(agent.settings.turnDeadline, time: stage.time) {
            () async -> Result<(TurnDraft, StepRecorder, TurnWorkspace), AgentStop> in
            var (draft, steps, files) = seed
            do throws(TurnFailure) {
                try await agent.answer(&draft, steps: &steps, workspace: &files) { live.publish($0, to: key) }
                return .success((draft, steps, files))
            } catch {
                return .failure(AgentStop(failure: error, files: files))
            }
        }
        switch result {
        case .success(let done): (draft, steps, files) = done
        case .failure(let stop):
            files = stop.files
            guard isLate, !Task.isCancelled else { throw stop.failure }
            throw TurnFailure(.transient, "the turn took more than \(agent.settings.turnDeadline)")
        }
    }

    private struct AgentStop: Error {
        let failure: TurnFailure
        let files: TurnWorkspace
    }

    private mutating func slot(
        _ draft: TurnDraft,
        steps: [TurnStep],
        outcome: TurnOutcome
    ) async throws(TurnFailure) -> Slot {
        let before = head?.state ?? ConversationState(conversation: event.partitionkey)
        var change = StateChange(from: before, to: draft.state, seen: [event.dedupekey])
        var state = draft.state
        let window = stage.agent.settings.transcript
        change.sealed = try await stage.store.sealOldEntries(of: &state, window: window, in: keys)
        if let tree = state.workspace, tree != before.workspace {
            (change.files, change.filesLeft) = try await stage.folders.carried(
                from: before.workspace,
                to: tree
            )
        }
        if state.turn % StateChange.wholeEvery == 0 { change.state = state }
        var builder = SlotBuilder(
            event: event,
            source: source,
            head: head,
            worker: stage.worker,
            startedAt: startedAt,
            sealedAt: stage.time.now(),
            putID: stage.chance.identifier()
        )
        if !draft.reply.isEmpty { builder.reply(draft.reply, turn: state.turn) }
        let encoded = JSONRaw(change)
        let isInline = encoded.bytes.count <= StateChange.inlineBytesMax
        let reference = isInline ? nil : ConversationKeys.blob(try await stage.store.putBlob(encoded.bytes))
        return builder.slot(
            state: state,
            outcome: outcome,
            steps: steps,
            usage: draft.usage,
            change: isInline ? encoded : nil,
            changeRef: reference
        )
    }

    func deadSlot(turn: Int64, reason: TurnProtocol.GiveUp, attempts: Int) async -> Slot {
        stage.metrics.dead.increment()
        stage.logger.error(
            "Event given up",
            metadata: [
                LogKeys.event: event.id, LogKeys.attempt: "\(attempts)", LogKeys.reason: reason.rawValue,
                LogKeys.error: lastFailure.detail,
            ]
        )
        let before = head?.state ?? ConversationState(conversation: event.partitionkey)
        let draft = TurnDraft(state: before, event: event, isForAgent: false)
        var builder = SlotBuilder(
            event: event,
            source: source,
            head: head,
            worker: stage.worker,
            startedAt: startedAt,
            sealedAt: stage.time.now(),
            putID: stage.chance.identifier()
        )
        if !stage.agent.settings.apology.isEmpty, stage.agent.answers(event) {
            builder.reply(stage.agent.settings.apology, turn: turn)
        }
        builder.emit(
            DeadLetter(
                record,
                topic: source.topic,
                conversation: event.partitionkey,
                eventID: event.id,
                reason: reason.rawValue,
                detail: lastFailure.detail,
                attempts: attempts,
                worker: stage.worker.name,
                at: stage.time.now()
            )
        )
        // What was said in it may be too large for the record beside its dead letter; then this turn can be
        // rebuilt from the letter's payload by hand only.
        let change = JSONRaw(StateChange(from: before, to: draft.state, seen: [event.dedupekey]))
        let isInline = change.bytes.count <= StateChange.inlineBytesMax / 2
        return builder.slot(
            state: draft.state,
            outcome: .dead,
            steps: [],
            usage: draft.usage,
            change: isInline ? change : nil
        )
    }
}
