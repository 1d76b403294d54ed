import JSON
import Pipeline
import PipelineTesting
import Testing
import Topics

@Suite("Turn stage")
struct TurnStageTests {
    private func echo() -> ScriptedModel {
        ScriptedModel { request, _ in ScriptedModel.say("echo \(request.messages.last?.text ?? "")") }
    }

    @Test("an event becomes one reply, one turn record and one slot")
    func one() async throws {
        let bench = TurnBench(echo())

        let outputs = await bench.handle("hello", offset: 0)

        #expect(TurnBench.replies(outputs) == ["echo hello"])
        #expect(outputs?.map(\.topic) == ["penstock.replies", "penstock.turns"])
        #expect(bench.store.keys.filter { $0.contains("/t/") }.count == 1)
    }

    @Test("a platform's second delivery says nothing and changes nothing")
    func duplicate() async {
        let bench = TurnBench(echo())
        _ = await bench.handle("hello", offset: 0, dedupe: "same")

        let outputs = await bench.handle("hello", offset: 1, id: "other", dedupe: "same")

        #expect(outputs?.isEmpty == true)
        #expect(bench.model.callCount == 1)
    }

    @Test("an event delivered again after its slot was sealed gives the same outputs and runs nothing")
    func adopted() async {
        let first = TurnBench(echo())
        let outputs = await first.handle("hello", offset: 0)
        let second = TurnBench(store: first.store, worker: "worker-b", echo())

        let again = await second.handle("hello", offset: 0, again: true)

        #expect(again == outputs)
        #expect(second.model.callCount == 0)
    }

    @Test("an event delivered again after later ones were sealed gives its own outputs")
    func adoptedBelowHead() async {
        let first = TurnBench(echo())
        var outputs: [[NewRecord]?] = []
        for offset in Int64(0)..<4 { outputs.append(await first.handle("n\(offset)", offset: offset)) }
        let second = TurnBench(store: first.store, worker: "worker-b", echo())

        for offset in [Int64(2), 0, 3, 1] {
            #expect(await second.handle("n\(offset)", offset: offset, again: true) == outputs[Int(offset)])
        }
        #expect(second.model.callCount == 0)
    }

    @Test("a log created anew starts its offsets again, and its events are new")
    func anotherLog() async {
        let bench = TurnBench(echo())
        _ = await bench.handle("old", offset: 5)
        let event = TurnBench.event("new", id: "new")
        let stage = TurnStage(
            agent: Agent(
                model: bench.model,
                tools: AgentTools(
                    skills: SkillCatalog(),
                    runner: SkillRunner(sandbox: FakeSandbox([:]), limits: .standard)
                ),
                settings: AgentSettings()
            ),
            store: bench.store,
            folders: StandInFolders.none,
            worker: WorkerIdentity(name: "b", version: "test"),
            sources: SourceNaming(prefix: "penstock.", log: "log-2"),
            time: bench.clock.source,
            chance: .counting(),
            live: LiveFeed()
        )

        let outputs = await stage.handle(TurnBench.record(event, offset: 0), in: bench.again)

        #expect(TurnBench.replies(outputs) == ["echo new"])
    }

    @Test("the response of the sealing put is lost: the turn is ours all the same")
    func lostResponse() async {
        let bench = TurnBench(ScriptedModel(.deterministic) { _, _ in ScriptedModel.say("once") })
        // The listing answers; the put of the slot happens, and its response is lost.
        _ = await bench.handle("first", offset: 0)
        bench.store.fail(.lostResponse)

        let outputs = await bench.handle("second", offset: 1)

        #expect(TurnBench.replies(outputs) == ["once"])
        #expect(bench.store.keys.filter { $0.contains("/t/") }.count == 2)
    }

    @Test("a rival's slot in between makes the turn run again on what is there now")
    func rival() async throws {
        let store = MemoryStore()
        let rival = TurnBench(store: store, worker: "rival", echo())
        let bench = TurnBench(store: store, worker: "us", echo())
        _ = await bench.handle("zero", offset: 0)
        // The rival has the partition for a while; our cached head is stale.
        _ = await rival.handle("one", offset: 1, again: true)

        let outputs = await bench.handle("two", offset: 2)

        #expect(TurnBench.replies(outputs) == ["echo two"])
        #expect(store.keys.filter { $0.contains("/t/") }.count == 3)
        let newest = try #require(try await TurnStore(store).newest(ConversationKeys("webhook:a:c")))
        let texts = newest.state.entries.filter { $0.role == .user }.map(\.text)
        #expect(texts == ["zero", "one", "two"])
    }

    @Test("a model that fails for a while is asked again")
    func transient() async {
        let bench = TurnBench(
            ScriptedModel { _, call throws(ModelError) in
                if call < 3 { throw ModelError(.transient, "not now") }
                return ScriptedModel.say("at last")
            }
        )

        #expect(TurnBench.replies(await bench.handle("hello", offset: 0)) == ["at last"])
        #expect(bench.model.callCount == 3)
    }

    @Test("being throttled does not count as an attempt")
    func throttled() async {
        let bench = TurnBench(
            settings: { $0.attemptsMax = 2 },
            ScriptedModel { _, call throws(ModelError) in
                if call < 10 { throw ModelError(.throttled(retryAfter: .seconds(1)), "slow down") }
                return ScriptedModel.say("at last")
            }
        )

        #expect(TurnBench.replies(await bench.handle("hello", offset: 0)) == ["at last"])
    }

    @Test(
        "an event that can not be answered becomes a dead letter with an apology, and the next one is answered",
        arguments: [(ModelError.Kind.transient, 5), (.permanent, 1)]
    )
    func dead(kind: ModelError.Kind, calls: Int) async {
        let bench = TurnBench(
            ScriptedModel { request, _ throws(ModelError) in
                if request.messages.last?.text == "poison" { throw ModelError(kind, "never") }
                return ScriptedModel.say("fine")
            }
        )

        let outputs = await bench.handle("poison", offset: 0)
        let next = await bench.handle("hello", offset: 1)

        let letter = TurnBench.letters(outputs)?.first
        #expect(letter?.eventID == "event-0" && letter?.detail == "never" && letter?.attempts == calls)
        #expect(TurnBench.replies(outputs)?.count == 1)
        #expect(bench.model.callCount == calls + 1)
        #expect(TurnBench.replies(next) == ["fine"])
    }

    @Test("an event that kills the process is given up after its attempts")
    func poison() async {
        let store = MemoryStore()
        // A worker that dies in its turn leaves that it was tried, then its attempt marks, and nothing else.
        for _ in 0..<6 {
            let bench = TurnBench(
                store: store,
                ScriptedModel { _, _ throws(ModelError) in throw ModelError(.cancelled, "died") }
            )
            #expect(await bench.handle("boom", offset: 0, again: true) == nil)
        }
        let last = TurnBench(store: store, ScriptedModel { _, _ in ScriptedModel.say("never asked") })

        let outputs = await last.handle("boom", offset: 0, again: true)

        #expect(TurnBench.letters(outputs)?.first?.reason == "attempts_spent")
        #expect(last.model.callCount == 0)
    }

    @Test("what is not an event becomes a dead letter, whole")
    func undecodable() async {
        let bench = TurnBench(echo())
        let record = LogRecord(
            position: RecordPosition(TopicPartition("penstock.events", 0), 7),
            time: bench.clock.now,
            key: Array("k".utf8),
            headers: [LogHeader("x", "y")],
            value: [0xFF, 0x00]
        )

        let letter = TurnBench.letters(await bench.stage.handle(record, in: bench.assignment))?.first

        #expect(letter?.reason == "undecodable" && letter?.offset == 7)
        #expect(letter.flatMap { Base64.decode($0.payload) } == [0xFF, 0x00])
    }

    @Test("a store that does not answer makes the turn wait, not fail")
    func storeDown() async {
        let bench = TurnBench(echo())
        bench.store.fail(.refused, .refused, .refused, .lostResponse, .refused)

        #expect(TurnBench.replies(await bench.handle("hello", offset: 0)) == ["echo hello"])
        #expect(bench.model.callCount == 1)
    }

    @Test("nothing is kept of a turn whose partition went to somebody else")
    func ended() async {
        let assignment = Assignment(
            partition: TopicPartition("penstock.events", 0),
            progress: Progress(low: 0),
            freshFrom: 0
        )
        let bench = TurnBench(
            ScriptedModel { _, _ in
                assignment.end()
                return ScriptedModel.say("too late")
            }
        )
        let event = TurnBench.event("hello", id: "e")

        let outputs = await bench.stage.handle(TurnBench.record(event, offset: 0), in: assignment)

        #expect(outputs == nil)
        #expect(!bench.store.keys.contains { $0.contains("/t/") })
    }

    @Test("messages of bots and of people who are not asking are noted, not answered")
    func noted() async throws {
        let bench = TurnBench(echo())
        var event = TurnBench.event("I am a bot", id: "bot")
        event.data.sender.kind = .bot

        let outputs = await bench.stage.handle(TurnBench.record(event, offset: 0), in: bench.assignment)

        #expect(TurnBench.replies(outputs) == [])
        let record = try #require(outputs?.first)
        #expect(try TurnRecord(json: record.value).outcome == .noted)
        #expect(bench.model.callCount == 0)
    }
}
