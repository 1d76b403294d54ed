import JSON
import Pipeline

extension ConversationsCommand {
    static let gcCommand = Command(
        name: "gc",
        summary: "deletes old turns and the files that only they had",
        discussion: """
            Keeps the newest turns of each conversation and all younger ones, and the whole transcript.
            May run beside workers: files that nobody seems to need are moved aside first, are found there by
            whoever needs them all the same, and are deleted by a later gc, a day or more after.
            """,
        examples: [
            (
                "penstock conversations gc --keep-turns 50 --keep-days 30 --dry-run",
                "only says what it would do"
            ),
            ("penstock conversations gc --keep-turns 50 --keep-days 30", "each night, say"),
        ],
        options: [
            .value("keep-turns", "N", "the newest of each conversation; at least 1"),
            .value("keep-days", "D", "younger turns are kept too; default 30"),
            .value("grace-hours", "H", "how long files stay aside; default 24"),
            .flag("dry-run", "changes nothing"),
        ],
        run: gc
    )

    private static func gc(_ invocation: Invocation) async throws -> Int32 {
        guard invocation.has("keep-turns") else {
            throw UsageError("gc needs --keep-turns N: how many turns of each conversation to keep at least")
        }
        let rules = StoreSweep.Rules(
            keepTurns: try invocation.integer("keep-turns", in: 1...1_000_000_000, default: 1),
            keepFor: .seconds(86_400 * (try invocation.integer("keep-days", in: 0...36_500, default: 30))),
            grace: .seconds(3_600 * (try invocation.integer("grace-hours", in: 1...8_760, default: 24))),
            isDryRun: invocation.has("dry-run")
        )
        let composition = try await Composition(try SettingsFile.load(invocation))
        let report = try await StoreSweep(composition.store, rules: rules, time: composition.time).run()
        if invocation.isJSON {
            Terminal.json([
                "dry_run": .bool(rules.isDryRun), "conversations": .integer(Int64(report.conversations)),
                "turns_kept": .integer(Int64(report.turnsKept)),
                "turns_deleted": .integer(Int64(report.turnsDeleted)),
                "journals_deleted": .integer(Int64(report.journalsDeleted)),
                "blobs_named": .integer(Int64(report.blobsNamed)),
                "blobs_moved_aside": .integer(Int64(report.blobsTrashed)),
                "blobs_put_back": .integer(Int64(report.blobsRestored)),
                "blobs_deleted": .integer(Int64(report.blobsDeleted)),
                "bytes_deleted": .integer(Int64(report.bytesDeleted)),
                "unreadable": .array(report.unreadable.map { .string($0) }),
            ])
        } else {
            Terminal.line(rules.isDryRun ? "would be done:" : "done:")
            Terminal.line("\(report.conversations) conversations, \(report.turnsKept) turns kept")
            Terminal.line(
                "\(report.turnsDeleted) turns and \(report.journalsDeleted) journal entries deleted"
            )
            Terminal.line(
                "\(report.blobsNamed) files in use, \(report.blobsTrashed) moved aside, "
                    + "\(report.blobsRestored) put back, \(report.blobsDeleted) deleted "
                    + "(\(report.bytesDeleted) bytes)"
            )
        }
        for detail in report.unreadable {
            Terminal.complain("no files were deleted: \(detail); restore it: penstock replay rebuild")
        }
        return report.unreadable.isEmpty ? 0 : 1
    }
}
