import JSON
import Topics

/// Deletes old turns and what only they named; may run beside workers (Decisions/0010).
///
/// A blob that no kept turn and no open journal names is moved to the trash, where readers still find it. A
/// later sweep brings back what is named by then, and deletes the rest once it has lain there for `grace`.
package struct StoreSweep: Sendable {
    package struct Rules: Sendable, Hashable {
        /// The newest of each conversation; at least one.
        package var keepTurns: Int
        /// Younger turns are kept too.
        package var keepFor: Duration
        /// Longer than any step of a turn takes from storing a file to its journal entry.
        package var grace: Duration
        package var isDryRun: Bool

        package init(keepTurns: Int, keepFor: Duration, grace: Duration, isDryRun: Bool) {
            self.keepTurns = max(keepTurns, 1)
            self.keepFor = keepFor
            self.grace = grace
            self.isDryRun = isDryRun
        }
    }

    package struct Report: Sendable, Hashable {
        package var conversations = 0
        package var turnsKept = 0
        package var turnsDeleted = 0
        /// Journal entries and attempt marks of deleted turns.
        package var journalsDeleted = 0
        package var blobsNamed = 0
        package var blobsTrashed = 0
        package var blobsRestored = 0
        package var blobsDeleted = 0
        package var bytesDeleted = 0
        /// Why blobs were left alone this time: somebody's names could not be read.
        package var unreadable: [String] = []

        package init() {}
    }

    private let objects: any ObjectStore
    private let store: TurnStore
    private let rules: Rules
    private let time: TimeSource

    package init(_ objects: any ObjectStore, rules: Rules, time: TimeSource) {
        self.objects = objects
        store = TurnStore(objects)
        self.rules = rules
        self.time = time
    }

    package func run() async throws -> Report {
        var report = Report()
        var named: Set<String> = []
        // Before anything is looked at: what is in the trash since then was put there by others.
        let begun = time.now()
        var after: String?
        while let key = try await objects.list(prefix: "c/", after: after, limit: 1).entries.first?.key {
            try Task.checkCancellation()
            let prefix = key.split(separator: "/").prefix(3).joined(separator: "/")
            after = "\(prefix)/~"
            report.conversations += 1
            do throws(TurnFailure) {
                try await sweep(ConversationKeys(prefix: prefix), &named, &report, now: begun)
            } catch {
                guard error.kind == .unreadable else { throw error }
                report.unreadable.append(error.detail)
            }
        }
        // Marks of processes that have ended; one that runs writes its own again at once.
        for entry in try await all("health/") { try await delete(entry.key) }
        try await addFiles(of: &named, &report)
        report.blobsNamed = named.count
        guard report.unreadable.isEmpty else { return report }
        try await emptyTrash(named, &report, begun: begun)
        try await sweepBlobs(named, &report, begun: begun)
        return report
    }

    // MARK: Conversations

    private func sweep(
        _ keys: ConversationKeys,
        _ named: inout Set<String>,
        _ report: inout Report,
        now: Timestamp
    ) async throws(TurnFailure) {
        var isOld = false
        var kept = 0
        var oldest: Int64?
        var newest: Int64 = 0
        for turn in try await turns(of: keys) {
            newest = max(newest, turn)
            if isOld {
                report.turnsDeleted += 1
                try await delete(keys.slot(turn))
                continue
            }
            guard let slot = try await store.slot(turn, of: keys) else { continue }
            isOld = kept >= rules.keepTurns && slot.sealedAt + rules.keepFor < now
            if isOld {
                report.turnsDeleted += 1
                try await delete(keys.slot(turn))
                continue
            }
            kept += 1
            oldest = turn
            named.formUnion(slot.namedBlobs)
        }
        report.turnsKept += kept
        try await sweepJournals(keys, &named, &report, oldest: oldest ?? 0, newest: newest)
    }

    /// Newest first.
    private func turns(of keys: ConversationKeys) async throws(TurnFailure) -> [Int64] {
        try await all(keys.slots).compactMap { keys.turn(ofSlot: $0.key) }.sorted(by: >)
    }

    /// Deletes those of turns before the oldest; those of turns that are not decided yet name files too.
    private func sweepJournals(
        _ keys: ConversationKeys,
        _ named: inout Set<String>,
        _ report: inout Report,
        oldest: Int64,
        newest: Int64
    ) async throws(TurnFailure) {
        for kind in ["j", "a"] {
            for entry in try await all("\(keys.prefix)/\(kind)/") {
                let parts = entry.key.dropFirst(keys.prefix.count + 1).split(separator: "/")
                guard parts.count > 1, let turn = Int64(parts[1]) else { continue }
                if turn < oldest {
                    report.journalsDeleted += 1
                    try await delete(entry.key)
                } else if kind == "j", turn > newest, let step = try await store.journalEntry(entry.key) {
                    if step.kind == .skill, let result = try? SkillResult(json: step.result.bytes) {
                        // Not readable as a skill's result: then it names no files.
                        if let tree = result.workspace { named.insert(Slot.treeMark + tree) }
                    }
                }
            }
        }
    }

    // MARK: Blobs

    /// Adds the files that named trees name. What is no tree is a large result.
    private func addFiles(of named: inout Set<String>, _ report: inout Report) async throws {
        for hash in named.filter({ $0.hasPrefix(Slot.treeMark) }) {
            named.remove(hash)
            let tree = String(hash.dropFirst(Slot.treeMark.count))
            named.insert(tree)
            do throws(TurnFailure) {
                let body = try await store.blob(tree)
                // A tree that is not readable may name anything.
                guard let parsed = try? WorkspaceTree(json: body) else {
                    throw TurnFailure(.unreadable, "\(ConversationKeys.blob(tree)): not a workspace's tree")
                }
                named.formUnion(parsed.blobs)
            } catch {
                guard error.kind == .unreadable else { throw error }
                report.unreadable.append(error.detail)
            }
        }
    }

    private func emptyTrash(_ named: Set<String>, _ report: inout Report, begun: Timestamp) async throws {
        for entry in try await all(Trash.prefix) {
            guard let (hash, stamp) = Trash.parse(entry.key) else { continue }
            if named.contains(hash) {
                report.blobsRestored += 1
                guard !rules.isDryRun else { continue }
                _ = try await store.blob(hash)
                try await delete(entry.key)
            } else if stamp + rules.grace < begun {
                report.blobsDeleted += 1
                report.bytesDeleted += entry.byteCount
                try await delete(entry.key)
            }
        }
    }

    private func sweepBlobs(_ named: Set<String>, _ report: inout Report, begun: Timestamp) async throws {
        for entry in try await all("b/") {
            guard let hash = entry.key.split(separator: "/").last.map(String.init), !named.contains(hash)
            else {
                continue
            }
            report.blobsTrashed += 1
            guard !rules.isDryRun, let object = try await objects.get(entry.key) else { continue }
            // The copy first: at no time is it nowhere.
            _ = try await objects.put(Trash.key(hash, time.now()), object.body, if: .always)
            try await delete(entry.key)
        }
    }

    private func delete(_ key: String) async throws(TurnFailure) {
        guard !rules.isDryRun else { return }
        do throws(ObjectStoreError) {
            try await objects.delete(key)
        } catch {
            throw TurnFailure(.store, error.detail)
        }
    }

    private func all(_ prefix: String) async throws(TurnFailure) -> [ObjectListing.Entry] {
        var entries: [ObjectListing.Entry] = []
        do throws(ObjectStoreError) {
            while true {
                let page = try await objects.list(prefix: prefix, after: entries.last?.key, limit: 1_000)
                entries += page.entries
                if !page.isTruncated { return entries }
            }
        } catch {
            throw TurnFailure(.store, error.detail)
        }
    }
}

/// Where blobs lie that nobody seemed to name: `trash/<hash>/<when, ms>`.
enum Trash {
    static let prefix = "trash/"

    static func key(_ hash: String, _ time: Timestamp) -> String {
        let digits = String(time.milliseconds)
        return "\(folder(hash))\(String(repeating: "0", count: max(0, 15 - digits.utf8.count)))\(digits)"
    }

    static func folder(_ hash: String) -> String { "\(prefix)\(hash)/" }

    static func parse(_ key: String) -> (hash: String, time: Timestamp)? {
        let parts = key.split(separator: "/")
        guard parts.count == 3, let milliseconds = Int64(parts[2]) else { return nil }
        return (String(parts[1]), Timestamp(milliseconds: milliseconds))
    }
}

extension Slot {
    /// Before the hash of a tree, in a set of hashes: its files are named too.
    static let treeMark = "tree:"

    /// Hashes of the blobs that this slot names, trees with their mark.
    var namedBlobs: Set<String> {
        var named: Set<String> = []
        if let tree = state.workspace { named.insert(Self.treeMark + tree) }
        for outbox in outbox where outbox.topic == TurnsTopic.topic.name {
            // A record of another version: its results are on the log.
            guard let record = try? TurnRecord(json: outbox.value.bytes) else { continue }
            let keys = record.steps.compactMap(\.resultRef) + [record.changeRef].compactMap(\.self)
            for key in keys { if let hash = key.split(separator: "/").last { named.insert(String(hash)) } }
        }
        return named
    }
}
