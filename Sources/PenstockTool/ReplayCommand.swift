import Glibc
import JSON
import Pipeline
import Synchronization

/// `penstock replay`: what the log's topics can make again.
enum ReplayCommand {
    static let command = Command(
        name: "replay",
        summary: "makes things again from the log: rebuild",
        subcommands: [
            Command(
                name: "rebuild",
                summary: "makes the store again from the topics alone",
                discussion: """
                    Every turn whose record is on the log is put into the store as it was, and checked by its
                    hash; what is there and whole is left alone. Stop all workers first. May be stopped and
                    started again. Files of a turn that are larger than 32 KiB, or beyond 128 KiB in all, do
                    not travel on the log: those that the store has lost are named.
                    """,
                examples: [
                    ("penstock replay rebuild", "after the bucket was lost"),
                    (
                        "penstock replay rebuild --conversation webhook:/cli:cli",
                        "one conversation; its worker may run"
                    ),
                ],
                options: [.value("conversation", "ID", "this one only")],
                run: rebuild
            )
        ]
    )

    private static func rebuild(_ invocation: Invocation) async throws -> Int32 {
        let composition = try await Composition(try SettingsFile.load(invocation))
        try await composition.probeStore()
        let rebuild = LogRebuild(
            log: composition.log,
            topicPrefix: composition.settings.topicPrefix,
            store: composition.store
        )
        let bar = ProgressBar("turns", total: try await rebuild.total())
        let report = try await rebuild.run(only: invocation.value("conversation")) { bar.advance(by: $0) }
        bar.end()
        if invocation.isJSON {
            Terminal.json([
                "records": .integer(report.records), "created": .integer(report.created),
                "repaired": .integer(report.repaired), "unchanged": .integer(report.unchanged),
                "without_outbox": .integer(report.withoutOutbox), "problems": .integer(report.problems),
                "problem_words": .array(report.problemWords.map { .string($0) }),
                "files_lost": .integer(report.filesLost),
                "files_lost_words": .array(report.filesLostWords.map { .string($0) }),
            ])
        } else {
            Terminal.line(
                "\(report.created) turns made, \(report.repaired) mended, \(report.unchanged) were there"
            )
            if report.withoutOutbox > 0 {
                Terminal.line(
                    "\(report.withoutOutbox) of them without their replies, which the log no longer has; "
                        + "their state is whole"
                )
            }
        }
        for words in report.problemWords { Terminal.complain(words) }
        for words in report.filesLostWords { Terminal.complain("lost: \(words)") }
        return report.problems == 0 && report.filesLost == 0 ? 0 : 1
    }
}

/// How far something is, on one line of a terminal; nothing where there is none.
final class ProgressBar: Sendable {
    private let name: String
    private let total: Int64
    private let isShown = isatty(2) == 1
    private let state = Mutex((done: Int64(0), shown: Int64(-1)))

    init(_ name: String, total: Int64) {
        self.name = name
        self.total = max(total, 1)
    }

    func advance(by count: Int64) {
        let text = state.withLock { state -> String? in
            state.done += count
            let percent = min(100, state.done * 100 / total)
            guard percent > state.shown else { return nil }
            state.shown = percent
            let bar = String(repeating: "█", count: Int(percent) / 5)
            return "\r\(bar.padded(20)) \(percent) %  \(state.done) of \(total) \(name)"
        }
        if isShown, let text { Terminal.status(text) }
    }

    func end() {
        if isShown { Terminal.status("\n") }
    }
}
