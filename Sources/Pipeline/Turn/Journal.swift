import Crypto
package import JSON
package import Topics

/// The result of one step that cannot be computed again: a model's answer, a skill's run.
package struct JournalEntry: JSONObjectCoded, Hashable {
    package var index = 0
    package var kind = StepKind.unknown
    package var name = ""
    package var requestHash = ""
    package var result = JSONRaw(JSONValue.null)
    package var durationMilliseconds: Int64 = 0

    package init() {}

    package static let fields = JSONFields<JournalEntry>(
        title: "JournalEntry",
        doc: "The result of one step of a turn.",
        [
            .required("index", \.index, "Its place in the turn, from 0."),
            .required("kind", \.kind, "What was asked."),
            .required("name", \.name, "The model or the skill."),
            .required("request_hash", \.requestHash, "SHA-256 of the request, canonical JSON, hex."),
            .required("result", \.result, "What came back."),
            .defaulted("duration_ms", \.durationMilliseconds, "How long it took, ms."),
        ]
    )
}

/// Runs the steps of one turn, each at most once for its result: what a worker before us finished is taken
/// from the journal, what we finish goes there before the turn goes on.
package struct StepRecorder: Sendable {
    /// Results up to this size travel in the turn record; larger ones are blobs that it names.
    package static let inlineBytesMax = 16 * 1_024
    /// And so many bytes of them in one turn, so that its record stays within a record's limit.
    package static let inlineBytesTotalMax = 256 * 1_024

    package private(set) var steps: [TurnStep] = []
    /// Requests that differ from what the journal holds: the code or its settings changed between two tries.
    package private(set) var divergences = 0

    private let store: TurnStore
    private let keys: ConversationKeys
    private let turn: Int64
    private let source: EventSource
    private let readsJournal: Bool
    private let isAlive: @Sendable () -> Bool
    private let faults: FaultPoints
    private var inlineBytes = 0

    /// `readsJournal`: the event was perhaps tried before; false saves a get for each step.
    /// `isAlive`: false once the turn must stop and keep nothing.
    package init(
        store: TurnStore,
        keys: ConversationKeys,
        turn: Int64,
        source: EventSource,
        readsJournal: Bool,
        isAlive: @escaping @Sendable () -> Bool,
        faults: FaultPoints = .none
    ) {
        self.faults = faults
        self.store = store
        self.keys = keys
        self.turn = turn
        self.source = source
        self.readsJournal = readsJournal
        self.isAlive = isAlive
    }

    /// The same for every try of this step, by whomever: what a skill may hand on as an idempotency key.
    package var nextIdempotencyKey: String {
        SHA256.hex(Array("\(keys.prefix)\n\(turn)\n\(source.key)\n\(steps.count)".utf8))
    }

    /// `requestHash`: SHA-256 of the request, canonical JSON, hex.
    /// `isJournaled`: false for a pure function of the request, which is simply run again after a
    ///   crash.
    package mutating func run<Result: JSONCoded>(
        _ kind: StepKind,
        _ name: String,
        requestHash: String,
        isJournaled: Bool,
        _ body: () async throws(TurnFailure) -> Result
    ) async throws(TurnFailure) -> Result {
        guard isAlive() else { throw TurnFailure(.abandoned, "the partition was given up") }
        let key = keys.journal(turn: turn, source: source, step: steps.count)
        if isJournaled, readsJournal, let found = try await store.journalEntry(key), found.kind == kind {
            if found.requestHash != requestHash { divergences += 1 }
            return try await adopt(found)
        }
        await faults.reach(.stepBefore)
        let clock = ContinuousClock()
        let start = clock.now
        let result = try await body()
        guard isAlive() else { throw TurnFailure(.abandoned, "the partition was given up") }
        var entry = JournalEntry()
        entry.index = steps.count
        entry.kind = kind
        entry.name = name
        entry.requestHash = requestHash
        entry.result = JSONRaw(result)
        entry.durationMilliseconds = (clock.now - start).milliseconds
        guard isJournaled else {
            try await record(entry)
            return result
        }
        await faults.reach(.journalBefore)
        let kept = try await store.journal(entry, at: key)
        await faults.reach(.journalAfter)
        return try await adopt(kept)
    }

    private mutating func adopt<Result: JSONCoded>(_ entry: JournalEntry) async throws(TurnFailure) -> Result
    {
        try await record(entry)
        do throws(JSONError) {
            return try Result(json: entry.result.bytes)
        } catch {
            throw TurnFailure(.permanent, "journal step \(entry.index): \(error.path): \(error.message)")
        }
    }

    private mutating func record(_ entry: JournalEntry) async throws(TurnFailure) {
        var step = TurnStep()
        step.index = entry.index
        step.kind = entry.kind
        step.name = entry.name
        step.requestHash = entry.requestHash
        step.durationMilliseconds = entry.durationMilliseconds
        let byteCount = entry.result.bytes.count
        if byteCount <= Self.inlineBytesMax, inlineBytes + byteCount <= Self.inlineBytesTotalMax {
            inlineBytes += byteCount
            step.result = entry.result
        } else {
            step.resultRef = ConversationKeys.blob(try await store.putBlob(entry.result.bytes))
        }
        steps.append(step)
    }
}
