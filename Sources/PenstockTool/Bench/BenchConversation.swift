import Adapters
import Pipeline
import Synchronization
import Topics

/// One conversation that grows, turn by turn, on a store that counts.
final class BenchConversation: Sendable {
    private let world: BenchWorld
    private let store: CountingStore
    private let messageBytes: Int
    private let load = BenchWorld.Load(turns: 1, conversations: 1, inFlight: 1)
    private let name: String
    private let state: Mutex<(stage: TurnStage?, turn: Int)>
    private let assignment = Assignment(
        partition: TopicPartition("bench.events", 0),
        progress: Progress(low: 0),
        freshFrom: 0
    )

    init(_ world: BenchWorld, _ store: CountingStore, messageBytes: Int) {
        self.world = world
        self.store = store
        self.messageBytes = messageBytes
        name = "bench-\(world.chance.identifier())"
        state = Mutex((nil, 0))
    }

    private var keys: ConversationKeys { ConversationKeys("webhook:/bench:\(name)") }

    func grow(to length: Int) async throws {
        while state.withLock({ $0.turn }) < length { _ = try await turn() }
    }

    /// From the record to what it emits.
    func turn() async throws -> Duration {
        let (stage, number) = try state.withLock { state in
            state.turn += 1
            if state.stage == nil { state.stage = try world.stage(load, on: store, model: model) }
            return (state.stage, state.turn)
        }
        guard let stage else { throw Failure("the benchmark has no stage") }
        let event = try world.event(number, in: name, text: text(number))
        let new = event.record(topic: "bench.events")
        let record = LogRecord(
            position: RecordPosition(TopicPartition("bench.events", 0), Int64(number)),
            time: event.recordedtime,
            key: new.key,
            headers: new.headers,
            value: new.value
        )
        let start = ContinuousClock.now
        guard let outputs = await stage.handle(record, in: assignment),
            outputs.contains(where: { $0.topic.hasSuffix(RepliesTopic.topic.name) })
        else { throw Failure("a turn of the benchmark was not answered") }
        return ContinuousClock.now - start
    }

    /// What a worker does that has nothing of it at hand.
    func wake() async throws -> Duration {
        let start = ContinuousClock.now
        guard try await TurnStore(store).newest(keys) != nil else {
            throw Failure("the benchmark's conversation is not there")
        }
        return ContinuousClock.now - start
    }

    /// Takes it out of the store again.
    func remove() async throws {
        while true {
            let page = try await store.list(prefix: "\(keys.prefix)/", after: nil, limit: 1_000)
            for entry in page.entries { try await store.delete(entry.key) }
            if page.entries.isEmpty { return }
        }
    }

    private var model: any ModelProvider { BenchTalker(messageBytes: messageBytes) }

    private func text(_ number: Int) -> String { BenchTalker.text(number, bytes: messageBytes) }
}

/// Answers with as many bytes as it is told, of words that compress as words do.
struct BenchTalker: ModelProvider {
    let messageBytes: Int
    let name = "bench"
    let determinism = ModelDeterminism.recorded

    func respond(
        to request: ModelRequest,
        part: @escaping @Sendable (ModelPart) async -> Void
    ) async throws(ModelError) -> ModelResponse {
        let asked = request.messages.last?.text.utf8.reduce(7) { ($0 &* 31 &+ Int($1)) & 0xFFFF_FFFF } ?? 0
        let text = Self.text(asked, bytes: messageBytes)
        return ModelResponse(text: text, toolCalls: [], stop: .end, usage: ModelUsage(), model: name)
    }

    static func text(_ number: Int, bytes: Int) -> String {
        var text = "\(number)"
        var chance = UInt64(number) &* 2_654_435_761 &+ 12_345
        while text.utf8.count < bytes {
            chance = chance &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            text += " " + String((chance >> 40) % 4_096 &* 7_919, radix: 36)
        }
        return String(text.prefix(bytes))
    }
}
