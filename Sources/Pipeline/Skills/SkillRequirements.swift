/// What a skill says that it needs.
package struct SkillRequirements: Sendable, Hashable {
    /// Skips every other gate but the system's.
    package var isAlways = false
    package var systems: [String] = []
    package var programs: [String] = []
    package var anyPrograms: [String] = []
    package var environment: [String] = []
    package var settings: [String] = []

    package init() {}

    /// What is missing on this host, in words; empty when the skill can run.
    package func missing(on host: SkillHost) -> [String] {
        var missing: [String] = []
        if !systems.isEmpty, !systems.contains(where: { $0.lowercased() == host.system }) {
            missing.append("it is for \(systems.joined(separator: ", ")), this is \(host.system)")
        }
        if isAlways { return missing }
        for program in programs where !host.has(program) {
            missing.append("the program \(program) is not in the sandbox")
        }
        if !anyPrograms.isEmpty, !anyPrograms.contains(where: host.has) {
            missing.append("none of \(anyPrograms.joined(separator: ", ")) is in the sandbox")
        }
        for name in environment where !host.environment.contains(name) {
            missing.append("the variable \(name) is not given to skills")
        }
        for name in settings where !host.settings.contains(name) {
            missing.append("there is no setting \(name)")
        }
        return missing
    }
}

/// What skills find where they run: the sandbox, not this machine.
package struct SkillHost: Sendable, Hashable {
    /// `linux`, `darwin` or `win32`.
    package var system = "linux"
    /// Folders of programs that the sandbox shows from this machine.
    package var searchPath = ["/usr/local/bin", "/usr/bin", "/bin"]
    package var environment: Set<String> = []
    /// Variables by skill, beside those.
    package var granted: [String: Set<String>] = [:]
    package var settings: Set<String> = []

    package init() {}

    /// What the skill of that name finds.
    func granting(_ skill: String) -> SkillHost {
        var host = self
        host.environment.formUnion(granted[skill] ?? [])
        return host
    }

    func has(_ program: String) -> Bool {
        guard !program.isEmpty, !program.contains("/") else { return false }
        return searchPath.contains { FileTree.isExecutable("\($0)/\(program)") }
    }
}
