import Crypto
import Glibc
import Pipeline
import Telemetry

@main
enum Penstock {
    static let version = "0.1.0"

    static let root = Command(
        name: "penstock",
        summary: "an event pipeline for chat agents",
        discussion: """
            Events of chat platforms go onto a durable log, workers answer each exactly once, replies
            are delivered.
            Without settings everything is in one process and one folder: start with penstock run.
            """,
        examples: [
            ("penstock run", "the whole pipeline; open the address that it prints"),
            ("penstock send \"/help\"", "gives the running pipeline a message"),
            ("penstock doctor", "checks this machine and says what to do"),
        ],
        options: [.flag("version", "the version")],
        subcommands: [
            RunCommand.run, RunCommand.ingress, RunCommand.worker, RunCommand.egress, SendCommand.command,
            TopicsCommand.command, ConversationsCommand.command, DeadLettersCommand.command,
            SkillsCommand.command, ReplayCommand.command, SandboxCommand.sandbox, BenchCommand.bench,
            DoctorCommand.command,
        ]
    )

    static func main() async {
        OpenSSL.keepUntilTheEnd()
        let words = Array(CommandLine.arguments.dropFirst())
        if words.first == "__complete" {
            for completion in Parser.completions(Array(words.dropFirst()), root) { Terminal.line(completion) }
            return
        }
        exit(await status(of: words))
    }

    private static func status(of words: [String]) async -> Int32 {
        do {
            let invocation = try Parser.parse(words, root)
            if invocation.has("version") {
                Terminal.line("penstock \(version)")
                return 0
            }
            if words.isEmpty || invocation.has("help") {
                Terminal.line(Help.text(invocation.command, invocation.path))
                return 0
            }
            try setUpLogging(invocation)
            return try await invocation.command.run?(invocation) ?? 2
        } catch let error as UsageError {
            Terminal.complain(error.message)
            return 2
        } catch let error as SettingsError {
            Terminal.complain(error.description)
            return 2
        } catch let error as Failure {
            Terminal.complain(error.message)
            return 1
        } catch let error as EventLogError {
            Terminal.complain("the log: \(error.detail)")
            return 1
        } catch let error as ObjectStoreError {
            Terminal.complain("the store: \(error.detail)")
            return 1
        } catch {
            Terminal.complain("\(error)")
            return 1
        }
    }

    private static func setUpLogging(_ invocation: Invocation) throws(UsageError) {
        let isService = ["run", "ingress", "worker", "egress"].contains(invocation.command.name)
        var level = isService ? LogLevel.info : .error
        if let name = invocation.value("log-level") {
            guard let wanted = LogLevel(name: name) else {
                throw UsageError(
                    "--log-level \(name): expected \(LogLevel.allCases.map(\.name).joined(separator: ", "))"
                )
            }
            level = wanted
        }
        var format = LogFormat.text
        if let name = invocation.value("log-format") {
            guard let wanted = LogFormat(rawValue: name) else {
                throw UsageError("--log-format \(name): expected text or json")
            }
            format = wanted
        }
        LogSystem.bootstrap(level: level, format: format)
    }
}
