import JSON
import Telemetry
import Topics

extension TurnRun {
    /// What a turn's agent works on. Not a value, because tasks that wait would hold copies of it.
    // For one task at a time: who hands it on waits until the other has ended.
    private final class Work: @unchecked Sendable {
        var draft: TurnDraft
        var steps: StepRecorder
        var files: TurnWorkspace

        init(draft: TurnDraft, steps: StepRecorder, files: TurnWorkspace) {
            self.draft = draft
            self.steps = steps
            self.files = files
        }
    }

    func execute(turn: Int64, attempt: Int) async throws(TurnFailure) -> TurnProtocol.Observation {
        let isForAgent = stage.agent.answers(event)
        let work = work(turn: turn, attempt: attempt, isForAgent: isForAgent)
        mayBeJournaled = true
        if isForAgent { stage.live.publish(.started(eventID: event.id), to: event.partitionkey) }
        do throws(TurnFailure) {
            defer { workspace = work.files }
            if isForAgent { try await answer(work) }
            requests = work.draft.requests
            try await enterSealing()
            try await prepareSealing(work, outcome: isForAgent ? .answered : .noted)
            return .executed
        } catch {
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

    private func work(turn: Int64, attempt: Int, isForAgent: Bool) -> Work {
        let before = head?.state ?? ConversationState(conversation: event.partitionkey)
        let assignment = assignment
        let steps = StepRecorder(
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
        return Work(
            draft: TurnDraft(state: before, event: event, isForAgent: isForAgent, requests: requests),
            steps: steps,
            files: files
        )
    }

    private func prepareSealing(_ work: Work, outcome: TurnOutcome) async throws(TurnFailure) {
        work.draft.state.workspace = work.files.tree
        sealing = try await slot(work.draft, steps: work.steps.steps, outcome: outcome)
    }

    /// The agent's answer within its deadline.
    private func answer(_ work: Work) async throws(TurnFailure) {
        let key = event.partitionkey
        let live = stage.live
        let agent = stage.agent
        let (failure, isLate) = await Deadline.run(agent.settings.turnDeadline, time: stage.time) {
            () async -> TurnFailure? in
            do throws(TurnFailure) {
                try await agent.answer(&work.draft, steps: &work.steps, workspace: &work.files) {
                    live.publish($0, to: key)
                }
                return nil
            } catch {
                return error
            }
        }
        guard let failure else { return }
        guard isLate, !Task.isCancelled else { throw failure }
        throw TurnFailure(.transient, "the turn took more than \(agent.settings.turnDeadline)")
    }

    private func slot(
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
