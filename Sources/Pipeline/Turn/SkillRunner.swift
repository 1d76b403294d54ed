import Crypto
package import JSON
import Topics

/// What a skill's run left, as it is journaled.
package struct SkillResult: JSONObjectCoded, Hashable {
    /// `exited 0`, `signalled 9`, `limit wall-clock`, or `failed` when nothing was run.
    package var ending = ""
    package var output = ""
    package var errors = ""
    package var isTruncated = false
    /// Tree of the workspace afterwards.
    package var workspace: String?

    package init() {}

    package static let fields = JSONFields<SkillResult>(
        title: "SkillResult",
        doc: "What a skill's run left.",
        [
            .required("ending", \.ending, "How it ended."),
            .required("output", \.output, "Standard output."),
            .required("errors", \.errors, "Standard error."),
            .defaulted("truncated", \.isTruncated, "There was more output than is kept."),
            .optional("workspace", \.workspace, "SHA-256 of the workspace's tree afterwards."),
        ]
    )

    package var succeeded: Bool { ending == "exited 0" }

    /// What the model and, by the command router, the person is told.
    package var report: String {
        var parts: [String] = []
        if !output.isEmpty { parts.append(output.trimmingTrailingNewlines) }
        if isTruncated { parts.append("[there was more output than is shown]") }
        if !succeeded {
            if !errors.isEmpty { parts.append(errors.trimmingTrailingNewlines) }
            parts.append("[\(ending)]")
        }
        return parts.isEmpty ? "[done, no output]" : parts.joined(separator: "\n")
    }
}

/// What was asked of a skill, hashed into the journal.
private struct SkillRequest: JSONObjectCoded {
    var skill = ""
    var command: [String] = []
    var input = ""
    var workspace: String?

    static let fields = JSONFields<SkillRequest>(
        title: "SkillRequest",
        doc: "What was asked of a skill.",
        [
            .required("skill", \.skill, "The skill's name."),
            .required("command", \.command, "Program and arguments."),
            .required("input", \.input, "Standard input."),
            .optional("workspace", \.workspace, "SHA-256 of the workspace's tree before."),
        ]
    )
}

/// Runs skills in their sandbox, on the conversation's workspace.
package struct SkillRunner: Sendable {
    package let sandbox: any SkillSandbox
    package let limits: SandboxLimits
    /// By skill; none has no network and no secret.
    package let grants: [String: SkillGrant]
    /// Most bytes of each stream that the journal and the model get.
    package static let outputBytesMax = 32 * 1_024

    package init(
        sandbox: any SkillSandbox,
        limits: SandboxLimits,
        grants: [String: SkillGrant] = [:]
    ) {
        self.sandbox = sandbox
        self.limits = limits
        self.grants = grants
    }

    func run(
        _ arguments: JSONValue,
        skills: SkillCatalog,
        steps: inout StepRecorder,
        workspace: inout TurnWorkspace,
        usage: inout TurnUsage,
        live: @escaping @Sendable (LivePart) -> Void
    ) async throws(TurnFailure) -> ToolResult {
        guard let name = arguments["skill"]?.stringValue, let skill = skills[name] else {
            return .error(
                "There is no skill of that name. There are: \(skills.names.joined(separator: ", "))."
            )
        }
        let command: [String]
        switch Self.command(for: skill, arguments) {
        case .success(let words): command = words
        case .failure(let problem): return .error(problem.text)
        }
        var request = SkillRequest()
        request.skill = name
        request.command = command
        request.input = arguments["input"]?.stringValue ?? ""
        request.workspace = workspace.tree
        var run = SandboxRun(command: command, limits: limits)
        run.mounts = [SandboxMount(host: skill.directory, inside: "/skills/\(skill.name)")]
        run.input = Array(request.input.utf8)
        run.environment = [
            "PENSTOCK_SKILL": skill.name,
            "PENSTOCK_ARGUMENTS": arguments["arguments"]?.stringValue ?? "",
            "PENSTOCK_IDEMPOTENCY_KEY": steps.nextIdempotencyKey,
        ]
        usage.skillRuns += 1
        live(.skillStarted(skill.name))
        let result = try await steps.run(
            .skill,
            skill.name,
            requestHash: SHA256.hex(request.json),
            isJournaled: true
        ) {
            () async throws(TurnFailure) -> SkillResult in
            try await perform(run, of: skill.name, in: &workspace)
        }
        live(.skillEnded(skill.name, succeeded: result.succeeded))
        workspace.tree = result.workspace
        return ToolResult(text: result.report, isError: !result.succeeded)
    }

    private func perform(
        _ run: SandboxRun,
        of skill: String,
        in workspace: inout TurnWorkspace
    ) async throws(TurnFailure) -> SkillResult {
        var run = run
        var result = SkillResult()
        do throws(TurnFailure) {
            run.workspace = try await workspace.open()
        } catch {
            guard case .unreadable = error.kind else { throw error }
            // The conversation goes on without them; its state names them still, so that a repair finds them.
            result.ending = "failed"
            result.errors = "The conversation's files can not be read: \(error.detail)"
            result.workspace = workspace.tree
            return result
        }
        do throws(SecretError) {
            try grants[skill]?.apply(to: &run, skill: skill)
        } catch {
            result.ending = "failed"
            result.errors =
                "The skill could not be run: a secret that it is granted is missing: \(error.detail)"
            result.workspace = workspace.tree
            return result
        }
        do throws(SandboxError) {
            let outcome = try await sandbox.run(run) { _, _ in }
            result = Self.result(of: outcome)
        } catch {
            switch error.kind {
            case .cancelled: throw TurnFailure(.abandoned, error.detail)
            case .busy: throw TurnFailure(.transient, error.detail)
            case .invalid, .unavailable:
                // A result like any other, so that the turn ends and the person is told; trying again cannot
                // help.
                result.ending = "failed"
                result.errors = "The skill could not be run: \(error.detail)"
                result.workspace = workspace.tree
                return result
            }
        }
        do throws(TurnFailure) {
            result.workspace = try await workspace.capture()
            for note in workspace.refused.prefix(5) { result.errors += "\nNot kept: \(note)" }
            if workspace.refused.count > 5 { result.errors += "\nand \(workspace.refused.count - 5) more" }
        } catch {
            guard case .permanent = error.kind else { throw error }
            try await workspace.reset()
            result.workspace = workspace.tree
            result.ending = "limit workspace"
            result.errors += "\nThe files it left were not kept: \(error.detail)"
        }
        return result
    }

    private static func result(of outcome: SandboxOutcome) -> SkillResult {
        var result = SkillResult()
        switch outcome.ending {
        case .exited(let status): result.ending = "exited \(status)"
        case .signalled(let signal): result.ending = "signalled \(signal)"
        case .limit(let limit): result.ending = "limit \(limit.rawValue)"
        }
        let (output, outputCut) = text(outcome.standardOutput)
        let (errors, errorsCut) = text(outcome.standardError)
        result.output = output
        result.errors = errors
        if outcome.hasMetProcessLimit, !outcome.succeeded {
            result.ending += ", at its limit of \(SandboxLimit.processes.rawValue)"
        }
        result.isTruncated =
            outputCut || errorsCut || outcome.standardOutputTruncated || outcome.standardErrorTruncated
        return result
    }

    private static func text(_ bytes: [UInt8]) -> (String, cut: Bool) {
        (String(decoding: bytes.prefix(outputBytesMax), as: UTF8.self), bytes.count > outputBytesMax)
    }

    private struct Problem: Error {
        let text: String
    }

    private static func command(for skill: Skill, _ arguments: JSONValue) -> Result<[String], Problem> {
        if let command = arguments["command"]?.stringValue, !command.isEmpty {
            return .success(["bash", "-c", command])
        }
        guard let entry = skill.entryPoint else {
            return .failure(
                Problem(
                    text:
                        "\(skill.name) has no script of its own to run: read it with read_skill, then "
                        + "give a \"command\"."
                )
            )
        }
        guard let words = ShellWords.split(arguments["arguments"]?.stringValue ?? "") else {
            return .failure(Problem(text: "The arguments end inside quotes."))
        }
        return .success(["/skills/\(skill.name)/\(entry)"] + words)
    }
}

extension String {
    var trimmingTrailingNewlines: String {
        var text = self[...]
        while text.last?.isNewline == true { text.removeLast() }
        return String(text)
    }
}
