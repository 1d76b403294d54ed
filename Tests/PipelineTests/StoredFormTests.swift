import Crypto
import JSON
import PipelineTesting
import Testing
import Topics

@testable import Pipeline

@Suite("Stored form")
struct StoredFormTests {
    private let keys = ConversationKeys("webhook:a:c")

    private func echo() -> ScriptedModel {
        ScriptedModel { request, _ in ScriptedModel.say("echo \(request.messages.last?.text ?? "")") }
    }

    /// Changes the bytes under the only key that has the word in it.
    private func damage(_ store: MemoryStore, _ word: String, _ change: (inout [UInt8]) -> Void) async throws
    {
        let found = store.keys.filter { $0.contains(word) }
        let key = try #require(found.count == 1 ? found[0] : nil, "\(found)")
        var body = try #require(try await store.get(key)?.body)
        change(&body)
        _ = try await store.put(key, body, if: .always)
    }

    @Test("a slot of format 1, as it was written before, is read, and the next turn goes on from it")
    func format1() async throws {
        let store = MemoryStore()
        _ = try await store.put(keys.slot(1), Array(Self.slotOfFormat1.utf8), if: .absent)

        let slot = try #require(try await TurnStore(store).newest(keys))
        let bench = TurnBench(store: store, echo())
        let outputs = await bench.handle("again", offset: 1)

        #expect(slot.format == Slot.format && slot.forkedFrom == nil)
        #expect(slot.state.entries.map(\.text) == ["hello", "echo hello"])
        #expect(TurnBench.replies(outputs) == ["echo again"])
        #expect(try await TurnStore(store).newest(keys)?.previous == slot.stateHash)
    }

    @Test("a slot of a later format makes the conversation wait for that version")
    func laterFormat() async throws {
        let store = MemoryStore()
        let later = Self.slotOfFormat1.replacing("\"format\":1", with: "\"format\":99,\"new\":[]")
        _ = try await store.put(keys.slot(1), StoredForm.document(Array(later.utf8)), if: .absent)

        let error = await #expect(throws: TurnFailure.self) { try await TurnStore(store).newest(keys) }

        #expect(error?.kind == .store && error?.detail.contains("format 99") == true)
    }

    @Test("any change of a stored slot is noticed: a bit, a cut, another slot's bytes, nothing")
    func damagedSlot() async throws {
        let changes: [(inout [UInt8]) -> Void] = [
            { $0[$0.count / 2] ^= 1 }, { $0.removeLast() }, { $0 = Array($0.prefix(20)) }, { $0 = [] },
            { $0 = StoredForm.document(Array("{}".utf8)) },
        ]
        for change in changes {
            let bench = TurnBench(echo())
            _ = await bench.handle("hello", offset: 0)
            try await damage(bench.store, "/t/", change)
            let error = await #expect(throws: TurnFailure.self) {
                try await TurnStore(bench.store).newest(keys)
            }
            #expect(error?.kind == .unreadable && error?.detail.contains(keys.slot(1)) == true)
        }
        let bench = TurnBench(echo())
        _ = await bench.handle("hello", offset: 0)
        _ = await bench.handle("hello", offset: 1)
        let first = try #require(try await bench.store.get(keys.slot(1)))
        _ = try await bench.store.put(keys.slot(2), first.body, if: .always)
        let error = await #expect(throws: TurnFailure.self) { try await TurnStore(bench.store).newest(keys) }
        #expect(error?.kind == .unreadable)
    }

    @Test("an event whose conversation is damaged and can not be restored is kept whole, as a dead letter")
    func deadLetter() async throws {
        let bench = TurnBench(echo())
        _ = await bench.handle("hello", offset: 0)
        try await damage(bench.store, "/t/") { $0[9] ^= 1 }
        let next = TurnBench(store: bench.store, echo())

        let letter = TurnBench.letters(await next.handle("again", offset: 1))?.first

        #expect(letter?.reason == "state_unreadable" && letter?.eventID == "event-1")
        #expect(letter?.detail.contains(keys.slot(1)) == true)
    }

    @Test("a damaged journal entry is run again and written anew")
    func damagedJournal() async throws {
        let store = MemoryStore()
        let dying = TurnBench(
            store: store,
            ScriptedModel { _, call throws(ModelError) in ScriptedModel.say("first \(call)") }
        )
        _ = await dying.handle("hello", offset: 0)
        // As if its worker had died before it sealed the turn.
        try await store.delete(keys.slot(1))
        try await damage(store, "/j/") { $0[$0.count - 1] ^= 1 }
        let next = TurnBench(store: store, ScriptedModel { _, _ in ScriptedModel.say("second") })

        let outputs = await next.handle("hello", offset: 0, again: true)

        #expect(TurnBench.replies(outputs) == ["second"])
        let key = try #require(store.keys.first { $0.contains("/j/") })
        #expect(try await TurnStore(store).journalEntry(key) != nil)
    }

    @Test("blobs are compressed where it pays, and checked by their name either way")
    func blobs() async throws {
        let store = MemoryStore()
        let turns = TurnStore(store)
        var noise = [UInt8](repeating: 0, count: 400_000)
        var chance: UInt64 = 1
        for index in noise.indices {
            chance = chance &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            noise[index] = UInt8(truncatingIfNeeded: chance >> 40)
        }
        let text = [UInt8](repeating: 0x61, count: 400_000)
        // Somebody's own zstd file stays itself.
        let frame = StoredForm.document(Array("{}".utf8))
        for (bytes, most) in [(noise, noise.count), (text, 1_000), ([], 0), (frame, frame.count)] {
            let hash = try await turns.putBlob(bytes)
            let stored = try #require(try await store.get(ConversationKeys.blob(hash))?.body)
            #expect(stored.count <= most)
            #expect(try await turns.blob(hash) == bytes)
        }
        let hash = SHA256.hex(text)
        try await damage(store, hash) { $0[$0.count / 2] ^= 4 }
        let error = await #expect(throws: TurnFailure.self) { try await turns.blob(hash) }
        #expect(error?.kind == .unreadable && error?.detail.contains(hash) == true)
    }

    @Test("a change carried by a record makes the state after from the state before")
    func change() async throws {
        let bench = TurnBench(
            settings: { $0.transcript = TranscriptWindow(entriesMax: 5, bytesMax: 10_000) },
            echo()
        )
        var before = ConversationState(conversation: "webhook:a:c")
        for turn in Int64(1)...70 {
            let outputs = await bench.handle("message \(turn)", offset: turn)
            let value = try #require(outputs?.first { $0.topic == "penstock.turns" }?.value)
            let record = try TurnRecord(json: value)
            let change = try StateChange(json: try #require(record.change).bytes)
            let (after, segment) = change.applied(to: before, in: keys)
            #expect(after.hash == record.stateHash)
            if let (key, segment) = segment {
                #expect(try await TurnStore(bench.store).segment(key) == segment)
            }
            #expect((change.state == nil) == (turn != 64))
            if let whole = change.state { #expect(whole == after) }
            before = after
        }
        #expect(before.entryCount == 140 && before.segment != nil)
    }
}

extension StoredFormTests {
    /// As version 0.1.0 wrote it before slots were compressed.
    static let slotOfFormat1 = #"""
        {"events":[{"dedupekey":"dedupe-event-0","id":"event-0","offset":0,"partition":0,"topic":"events"}],"format":1,"outbox":[{"headers":{},"key":"webhook:a:c","topic":"replies","value":{"account":"a","conversation":"webhook:a:c","created_at":"2026-09-21T14:13:20.000Z","format":"markdown","handle":"c","hop":1,"in_response_to":"event-0","platform":"webhook","reply_id":"webhook:a:c/1/0","text":"echo hello"}},{"headers":{},"key":"webhook:a:c","topic":"turns","value":{"conversation":"webhook:a:c","events":[{"dedupekey":"dedupe-event-0","id":"event-0","offset":0,"partition":0,"topic":"events"}],"outcome":"answered","replies":["webhook:a:c/1/0"],"sealed_at":"2026-09-21T14:13:20.000Z","started_at":"2026-09-21T14:13:20.000Z","state_hash":"dbe9154fc0853dfe827c0fa8ba316de6be25d18bb5c9d8001f3a41606164d1b0","steps":[{"duration_ms":0,"index":0,"kind":"model","name":"scripted","request_hash":"33fa590f4d8b8cf62b564660e5b7666de7fa8e25630450ae8929433fccc71551","result":{"model":"scripted","stop":"end","text":"echo hello","tool_calls":[],"usage":{"cached_tokens":0,"input_tokens":0,"output_tokens":0}}}],"turn":1,"usage":{"input_tokens":0,"model_calls":1,"output_tokens":0,"skill_runs":0},"version":"test","worker":"worker-a"}}],"outcome":"answered","positions":{"log-1/events/0":0},"put_id":"id-8","sealed_at":"2026-09-21T14:13:20.000Z","started_at":"2026-09-21T14:13:20.000Z","state":{"conversation":"webhook:a:c","entries":[{"event_id":"event-0","role":"user","sender":"bob","text":"hello","time":"2026-09-21T14:13:20.000Z","tool_calls":[],"turn":1},{"role":"assistant","text":"echo hello","time":"2026-09-21T14:13:20.000Z","tool_calls":[],"turn":1}],"entry_count":2,"memory":{},"recent":"6T5ziZ6pDzA=","turn":1},"state_hash":"dbe9154fc0853dfe827c0fa8ba316de6be25d18bb5c9d8001f3a41606164d1b0","version":"test","worker":"worker-a"}
        """#
}
