import Glibc
import JSON
import Pipeline

/// `penstock skills`: what skills there are, and what is wrong with them.
enum SkillsCommand {
    static let command = Command(
        name: "skills",
        summary: "the skills that there are",
        discussion:
            "Skills are folders with a SKILL.md, found below the folders that the setting skills names.",
        subcommands: [list, show, check]
    )

    private static let list = Command(
        name: "list",
        summary: "names, commands and purposes",
        examples: [("penstock skills list", "of the folders in the settings")],
        run: { invocation in
            let settings = try SettingsFile.load(invocation)
            let catalog = SkillLoader.load(settings.skills, host: settings.skillHost)
            complain(catalog.diagnostics.filter { $0.severity == .error })
            guard !invocation.isJSON else {
                for skill in catalog.skills { Terminal.json(.object(summary(skill, catalog, settings))) }
                return 0
            }
            Terminal.table(
                catalog.skills.map { skill in
                    let slash = "/\(catalog.slashNames[skill.name] ?? skill.name)"
                    return [skill.name, skill.entryPoint == nil ? "-" : slash, skill.description]
                }
            )
            if catalog.skills.isEmpty {
                Terminal.complain("there are no skills; the setting skills names their folders")
            }
            return 0
        }
    )

    private static let show = Command(
        name: "show",
        summary: "one skill, as a model reads it",
        operands: "NAME",
        operandCount: 1...1,
        run: { invocation in
            let settings = try SettingsFile.load(invocation)
            let catalog = SkillLoader.load(settings.skills, host: settings.skillHost)
            let name = invocation.operands[0]
            guard let skill = catalog[name] else {
                throw Failure("there is no skill \(name); penstock skills list shows those there are")
            }
            guard !invocation.isJSON else {
                var members = summary(skill, catalog, settings)
                members["body"] = .string(skill.body)
                Terminal.json(.object(members))
                return 0
            }
            Terminal.line("\(skill.name): \(skill.description)")
            Terminal.line("from \(skill.document)")
            for line in network(skill, settings) { Terminal.line(line) }
            for missing in skill.missing { Terminal.line("not for models here: \(missing)") }
            Terminal.line("\n\(skill.activation)")
            return 0
        }
    )

    private static let check = Command(
        name: "check",
        summary: "skills by the format's strict rules",
        operands: "[FOLDER…]",
        operandCount: 0...1_000,
        discussion: """
            Without folders those of the settings. Loading is more tolerant than this: what it had to mend or
            leave out is said as well. Exit code 1 when there is anything to say.
            """,
        examples: [("penstock skills check ./my-skill", "before it is published")],
        run: { invocation in
            let folders = invocation.operands
            let roots = folders.isEmpty ? try SettingsFile.load(invocation).skills : folders
            let findings = SkillCheck.findings(below: roots)
            for finding in findings {
                if invocation.isJSON {
                    Terminal.json(json(finding))
                } else {
                    Terminal.line("\(finding)")
                }
            }
            if findings.isEmpty, !invocation.isJSON { Terminal.line("All skills keep the rules.") }
            return findings.isEmpty ? 0 : 1
        }
    )

    private static func complain(_ diagnostics: [SkillDiagnostic]) {
        for diagnostic in diagnostics { Terminal.complain("\(diagnostic)") }
    }

    private static func json(_ diagnostic: SkillDiagnostic) -> JSONValue {
        .object([
            "severity": .string(diagnostic.severity.rawValue), "path": .string(diagnostic.path),
            "line": diagnostic.line.map { .integer(Int64($0)) } ?? .null,
            "message": .string(diagnostic.message),
        ])
    }

    /// What it asks of the network, and what the settings grant: one says nothing about the other.
    private static func network(_ skill: Skill, _ settings: Settings) -> [String] {
        let grant = settings.sandbox.grants[skill.name]
        let hosts = grant?.hosts.map(\.description) ?? []
        let asked = skill.requestedHosts
        var lines: [String] = []
        if !asked.isEmpty { lines.append("asks for the hosts: \(asked.joined(separator: ", "))") }
        if !asked.isEmpty || !hosts.isEmpty {
            let names =
                hosts.isEmpty
                ? "none; sandbox.skills in the settings names them" : hosts.joined(separator: ", ")
            lines.append("is granted the hosts: \(names)")
        }
        if let names = grant?.names.sorted(), !names.isEmpty {
            lines.append("is granted the secrets: \(names.joined(separator: ", "))")
        }
        return lines
    }

    private static func summary(
        _ skill: Skill,
        _ catalog: SkillCatalog,
        _ settings: Settings
    ) -> [String: JSONValue] {
        func words(_ list: [String]) -> JSONValue { .array(list.map { .string($0) }) }
        return [
            "name": .string(skill.name),
            "command": .string("/\(catalog.slashNames[skill.name] ?? skill.name)"),
            "description": .string(skill.description), "path": .string(skill.document),
            "run": skill.entryPoint.map { .string($0) } ?? .null,
            "license": skill.license.map { .string($0) } ?? .null,
            "compatibility": skill.compatibility.map { .string($0) } ?? .null,
            "allowed_tools": words(skill.allowedTools), "metadata": skill.metadata,
            "missing": words(skill.missing),
            "resources": words(skill.resources), "hidden_from_models": .bool(skill.isHiddenFromModels),
            "digest": .string(skill.digest),
            "hosts_requested": words(skill.requestedHosts),
            "hosts_granted": words(settings.sandbox.grants[skill.name]?.hosts.map(\.description) ?? []),
            "secrets_granted": words(settings.sandbox.grants[skill.name]?.names.sorted() ?? []),
        ]
    }
}
