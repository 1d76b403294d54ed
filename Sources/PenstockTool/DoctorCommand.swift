import Edge
import Glibc
import JSON
import LinuxSandbox
import Pipeline

/// `penstock doctor`: what this machine has and lacks, and what to do about it.
enum DoctorCommand {
    static let command = Command(
        name: "doctor",
        summary: "checks this machine and the settings, and says what to do",
        discussion: "Exits 1 when something that is needed is missing.",
        options: [
            .flag("fix", "does what can be done without asking"),
            .flag("offline", "makes no call to a model"),
        ],
        run: { invocation in try await examine(invocation) }
    )

    struct Finding: Sendable {
        let id: String
        let isGood: Bool
        /// Whether the pipeline cannot do without it.
        var isNeeded = true
        let seen: String
        let meaning: String
        var cure: String?
    }

    private static func examine(_ invocation: Invocation) async throws -> Int32 {
        var findings: [Finding] = []
        var settings: Settings?
        do {
            settings = try SettingsFile.load(invocation)
            findings.append(
                Finding(id: "settings", isGood: true, seen: "readable", meaning: "the settings are in order")
            )
        } catch {
            findings.append(
                Finding(
                    id: "settings",
                    isGood: false,
                    seen: "\(error)",
                    meaning: "nothing starts",
                    cure: "mend the line named"
                )
            )
        }
        if let settings {
            findings.append(dataFolder(settings, isFixing: invocation.has("fix")))
            if access(settings.data, F_OK) == 0 || settings.store != .folder {
                findings.append(await store(settings))
            }
            findings += skills(settings)
            findings += await models(settings, mayCall: !invocation.has("offline"))
        }
        findings += await kafka(settings)
        let used = settings ?? Settings()
        let walls = await SandboxDiagnosis.examine(used.sandbox.linux, limits: used.agent.skillLimits)
        for finding in walls {
            findings.append(
                Finding(
                    id: finding.id,
                    isGood: finding.isPresent,
                    isNeeded: finding.isRequired,
                    seen: finding.seen,
                    meaning: finding.meaning,
                    cure: finding.cure
                )
            )
        }
        for finding in findings { show(finding, invocation.isJSON) }
        return findings.contains { !$0.isGood && $0.isNeeded } ? 1 : 0
    }

    private static func show(_ finding: Finding, _ isJSON: Bool) {
        let state = finding.isGood ? "ok" : finding.isNeeded ? "missing" : "absent"
        if isJSON {
            var value: [String: JSONValue] = [
                "id": .string(finding.id), "state": .string(state), "seen": .string(finding.seen),
                "meaning": .string(finding.meaning),
            ]
            value["cure"] = finding.cure.map { .string($0) }
            return Terminal.json(.object(value))
        }
        Terminal.line("\(state.padded(8)) \(finding.id.padded(24)) \(finding.seen)")
        guard !finding.isGood else { return }
        Terminal.line("         \(finding.meaning)")
        if let cure = finding.cure { Terminal.line("         do: \(cure)") }
    }

    private static func dataFolder(_ settings: Settings, isFixing: Bool) -> Finding {
        if isFixing { mkdir(settings.data, 0o700) }
        let isThere = access(settings.data, F_OK) == 0
        let isWritable = access(settings.data, W_OK) == 0
        let seen =
            isWritable
            ? settings.data
            : isThere ? "\(settings.data) can not be written" : "\(settings.data) is not there yet"
        return Finding(
            id: "data",
            isGood: isWritable || !isThere,
            seen: seen,
            meaning: "the log and the store live there",
            cure: isThere ? "chown or chmod it, or set data: to another folder" : nil
        )
    }

    private static func skills(_ settings: Settings) -> [Finding] {
        let catalog = SkillLoader.load(settings.skills, host: settings.skillHost)
        let broken = catalog.diagnostics.filter { $0.severity == .error }.map { problem in
            Finding(
                id: "skills",
                isGood: false,
                isNeeded: false,
                seen: "\(problem.path)\(problem.line.map { ":\($0)" } ?? ""): \(problem.message)",
                meaning: "this skill is not there for the agent",
                cure: "mend it, then: penstock skills check FOLDER"
            )
        }
        return [Finding(id: "skills", isGood: true, seen: "\(catalog.skills.count) loaded", meaning: "")]
            + broken
    }

    private static func models(_ settings: Settings, mayCall: Bool) async -> [Finding] {
        let isOffline = settings.models.allSatisfy { if case .offline = $0 { true } else { false } }
        if isOffline {
            return [
                Finding(id: "model", isGood: true, seen: "offline: commands only", meaning: "no model is set")
            ]
        }
        guard mayCall else { return [] }
        do {
            let model = try Composition.model(settings)
            let request = ModelRequest(
                system: "Answer with one word.",
                messages: [.user("Say ready.")],
                tools: [],
                outputTokensMax: 16
            )
            let response = try await model.respond(to: request) { _ in }
            let seen = "\(model.name) answered \"\(response.text.prefix(40))\""
            return [Finding(id: "model", isGood: true, seen: seen, meaning: "")]
        } catch {
            let detail = (error as? ModelError)?.detail ?? "\(error)"
            return [
                Finding(
                    id: "model",
                    isGood: false,
                    seen: detail,
                    meaning: "no message will be answered by a model",
                    cure: "check model: in the settings, its key and the network"
                )
            ]
        }
    }
}
