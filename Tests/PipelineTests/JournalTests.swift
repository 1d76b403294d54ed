import JSON
import Pipeline
import PipelineTesting
import Synchronization
import Testing
import Topics

@Suite("Journal and skills")
struct JournalTests {
    /// One skill with a script to run.
    private func catalog() throws -> SkillCatalog {
        let folder = try SkillFolder()
        try folder.write("files/SKILL.md", "---\nname: files\ndescription: Keeps files.\n---\n")
        try folder.write("files/scripts/run.sh", "#!/bin/sh\n", mode: 0o755)
        let catalog = SkillLoader.load([folder.path])
        try #require(catalog["files"]?.entryPoint == "scripts/run.sh")
        return catalog
    }

    private func call(_ arguments: String) -> ModelResponse {
        ScriptedModel.call(
            "run_skill",
            ModelToolCall(
                id: "1",
                name: "run_skill",
                arguments: ["skill": "files", "arguments": .string(arguments)]
            )
        )
    }

    /// Counts its runs.
    private final class Runs: Sendable {
        let count = Mutex(0)
        func sandbox() -> FakeSandbox {
            FakeSandbox([
                "run.sh": { run, emit in
                    let number = self.count.withLock { count in
                        count += 1
                        return count
                    }
                    emit(.standardOutput, "run \(number): \(run.command.dropFirst().joined(separator: "|"))")
                    return .exited(0)
                }
            ])
        }
    }

    @Test("after a crash in the middle of a turn the finished steps are taken from the journal")
    func resumes() async throws {
        let store = MemoryStore()
        let runs = Runs()
        let skills = try catalog()
        let answers: ScriptedModel.Answer = { request, _ in
            request.messages.last?.role == .tool
                ? ScriptedModel.say("got \(request.messages.last?.text ?? "")") : self.call("'a b' c")
        }
        let dying = TurnBench(
            store: store,
            skills: skills,
            sandbox: runs.sandbox(),
            folders: StandInFolders.plain,
            ScriptedModel { request, call throws(ModelError) in
                if request.messages.last?.role == .tool {
                    throw ModelError(.cancelled, "the process died here")
                }
                return try answers(request, call)
            }
        )
        #expect(await dying.handle("go", offset: 0) == nil)
        let next = TurnBench(
            store: store,
            worker: "next",
            skills: skills,
            sandbox: runs.sandbox(),
            folders: StandInFolders.plain,
            ScriptedModel(answer: answers)
        )

        let outputs = await next.handle("go", offset: 0, again: true)

        #expect(TurnBench.replies(outputs) == ["got run 1: a b|c"])
        #expect(next.model.callCount == 1)
        #expect(runs.count.withLock { $0 } == 1)
    }

    @Test("a tool that is called wrongly tells the model, and the turn goes on")
    func wrongCalls() async throws {
        let calls = [
            ModelToolCall(id: "1", name: "nonsense", arguments: [:]),
            ModelToolCall(id: "1", name: "run_skill", arguments: ["skill": "unknown"]),
            ModelToolCall(id: "1", name: "run_skill", arguments: ["skill": "files", "arguments": "'open"]),
            ModelToolCall(id: "1", name: "remember", arguments: ["key": "x"]),
            ModelToolCall(id: "1", name: "recall", arguments: ["invalid": "{"]),
        ]
        let bench = TurnBench(
            skills: try catalog(),
            folders: StandInFolders.plain,
            ScriptedModel { request, call in
                call <= calls.count
                    ? ScriptedModel.call("", calls[call - 1])
                    : ScriptedModel.say("\(request.messages.filter(\.isError).count) errors")
            }
        )

        #expect(TurnBench.replies(await bench.handle("go", offset: 0)) == ["5 errors"])
    }

    @Test("a model that never stops calling is stopped")
    func rounds() async {
        let bench = TurnBench(
            settings: { $0.roundsMax = 3 },
            ScriptedModel { _, _ in
                ScriptedModel.call("", ModelToolCall(id: "1", name: "recall", arguments: ["key": "x"]))
            }
        )

        let replies = TurnBench.replies(await bench.handle("go", offset: 0))

        #expect(replies?.first?.contains("3 rounds") == true)
        #expect(bench.model.callCount == 3)
    }

    @Test("what is remembered in one turn is recalled in the next, by another worker too")
    func remembers() async {
        let store = MemoryStore()
        let answers: ScriptedModel.Answer = { request, _ in
            guard let last = request.messages.last, last.role == .user else {
                return ScriptedModel.say(request.messages.last?.text ?? "")
            }
            let isStore = last.text == "store"
            let arguments: JSONValue = isStore ? ["key": "k", "value": "v"] : ["key": "k"]
            return ScriptedModel.call(
                "",
                ModelToolCall(id: "1", name: isStore ? "remember" : "recall", arguments: arguments)
            )
        }
        _ = await TurnBench(store: store, ScriptedModel(answer: answers)).handle("store", offset: 0)

        let outputs = await TurnBench(store: store, worker: "b", ScriptedModel(answer: answers))
            .handle("load", offset: 1)

        #expect(TurnBench.replies(outputs) == ["k is v."])
    }

    @Test("a long conversation keeps a window and seals the rest, and nothing is lost")
    func segments() async throws {
        let bench = TurnBench(ScriptedModel(.deterministic) { _, _ in ScriptedModel.say("ok") })
        for offset in Int64(0)..<120 { _ = await bench.handle("message \(offset)", offset: offset) }

        let store = TurnStore(bench.store)
        let keys = ConversationKeys("webhook:a:c")
        let head = try #require(try await store.newest(keys))
        var entries = head.state.entries
        var key = head.state.segment
        while let sealed = key {
            let segment = try await store.segment(sealed)
            entries = segment.entries + entries
            key = segment.previous
        }

        #expect(head.state.turn == 120 && head.state.entryCount == 240)
        #expect(head.state.entries.count <= TranscriptWindow.standard.entriesMax)
        #expect(entries.filter { $0.role == .user }.map(\.text) == (0..<120).map { "message \($0)" })
    }
}
