import CLinux
import CSandbox
import Glibc
package import Pipeline

/// What of the sandbox this machine can do, layer by layer; for `penstock doctor` and the line at the start.
package struct SandboxFinding: Sendable, Hashable {
    /// Stable: `sandbox.<layer>`.
    package let id: String
    package let isPresent: Bool
    /// Whether a run is refused without it.
    package let isRequired: Bool
    /// What was seen.
    package let seen: String
    /// What the layer holds back, or what is lost without it.
    package let meaning: String
    /// What mends it; nil when it is present.
    package let cure: String?

    init(_ id: String, isPresent: Bool, isRequired: Bool = true, seen: String, meaning: String, cure: String)
    {
        self.id = "sandbox.\(id)"
        self.isPresent = isPresent
        self.isRequired = isRequired
        self.seen = seen
        self.meaning = meaning
        self.cure = isPresent ? nil : cure
    }
}

package enum SandboxDiagnosis {
    /// Looks at each layer, then runs a command through all of them. Takes some milliseconds, changes
    /// nothing.
    package static func examine(
        _ settings: LinuxSandbox.Settings = LinuxSandbox.Settings(),
        limits: SandboxLimits = .standard
    ) async -> [SandboxFinding] {
        walls(settings, limits) + programs() + [await wholeRun(settings)]
    }

    /// The same without the programs that skills want.
    package static func layers(
        _ settings: LinuxSandbox.Settings,
        limits: SandboxLimits
    ) async -> [SandboxFinding] {
        walls(settings, limits) + [await wholeRun(settings)]
    }

    private static func walls(_ settings: LinuxSandbox.Settings, _ limits: SandboxLimits)
        -> [SandboxFinding]
    {
        namespaces() + [time(settings), mounts(), seccomp(), landlock(settings)]
            + [cgroups(settings), processors(settings, limits)]
    }

    private static func namespaces() -> [SandboxFinding] {
        let kinds: [(name: String, flag: sandbox_namespace, meaning: String)] = [
            ("user", SANDBOX_NAMESPACE_USER, "skills have no right over the host"),
            (
                "pid", SANDBOX_NAMESPACE_PID,
                "skills see only their own processes, and all of them end together"
            ),
            ("mount", SANDBOX_NAMESPACE_MOUNT, "skills see only the files they are given"),
            ("network", SANDBOX_NAMESPACE_NETWORK, "skills have no network"),
            ("ipc", SANDBOX_NAMESPACE_IPC, "skills share no memory or queues with the host"),
            ("uts", SANDBOX_NAMESPACE_UTS, "skills do not see the host's name"),
            ("cgroup", SANDBOX_NAMESPACE_CGROUP, "skills do not see where the worker runs"),
        ]
        return kinds.map { kind in
            // Root's sandboxes are born in the host's namespace, but each probe in a user namespace needs
            // less.
            let error = sandbox_probe_namespaces(SANDBOX_NAMESPACE_USER.rawValue | kind.flag.rawValue)
            return SandboxFinding(
                "namespace-\(kind.name)",
                isPresent: error == 0,
                seen: error == 0 ? "can be made" : "clone: \(words(error))",
                meaning: kind.meaning,
                cure: SandboxStep(SANDBOX_STEP_CLONE.rawValue).cure
            )
        }
    }

    private static func time(_ settings: LinuxSandbox.Settings) -> SandboxFinding {
        let error = sandbox_probe_time()
        return SandboxFinding(
            "namespace-time",
            isPresent: error == 0,
            isRequired: !settings.isLenient,
            seen: error == 0 ? "can be made" : "unshare: \(words(error))",
            meaning: "skills do not see how long the host has run",
            cure: SandboxStep(SANDBOX_STEP_TIME_NAMESPACE.rawValue).cure
        )
    }

    private static func mounts() -> SandboxFinding {
        let error = sandbox_probe_mounts()
        return SandboxFinding(
            "mount-calls",
            isPresent: error == 0,
            seen: error == 0 ? "open_tree and mount_setattr" : words(error),
            meaning: "read-only all the way down, and folders attached without a path of the host",
            cure: SandboxStep(SANDBOX_STEP_ROOT.rawValue).cure
        )
    }

    private static func seccomp() -> SandboxFinding {
        let error = sandbox_probe_seccomp()
        let filter = Result { () throws(SandboxError) in try SystemCallFilter() }
        // Why it could not be built is said below.
        let built = (try? filter.get()).map {
            "\($0.allowedCount) system calls allowed, \($0.program.count / 8) instructions"
        }
        return SandboxFinding(
            "seccomp",
            isPresent: error == 0 && built != nil,
            seen: error == 0 ? built ?? "libseccomp cannot build the filter" : words(error),
            meaning: "skills reach only the part of the kernel that ordinary programs need",
            cure: SandboxStep(SANDBOX_STEP_SECCOMP.rawValue).cure + ", and libseccomp2 2.5 or newer"
        )
    }

    private static func landlock(_ settings: LinuxSandbox.Settings) -> SandboxFinding {
        let version = sandbox_landlock_version()
        return SandboxFinding(
            "landlock",
            isPresent: version > 0,
            isRequired: !settings.isLenient,
            seen: version > 0 ? "interface \(version)" : "not in this kernel, or switched off",
            meaning: "a second wall around files, behind the mounts",
            cure: "boot with lsm=landlock,yama,… (a kernel with CONFIG_SECURITY_LANDLOCK)"
        )
    }

    private static func cgroups(_ settings: LinuxSandbox.Settings) -> SandboxFinding {
        let found = settings.cgroups
        return SandboxFinding(
            "cgroups",
            isPresent: found != nil,
            isRequired: false,
            seen: found?.description ?? "no group that this user may divide",
            meaning:
                "memory and processes are limited for all of a skill together; without it each process is "
                + "limited, and the sum is watched every 50 ms",
            cure: "start the worker under systemd with Delegate=yes, or as root"
        )
    }

    private static func processors(_ settings: LinuxSandbox.Settings, _ limits: SandboxLimits)
        -> SandboxFinding
    {
        let isPresent = settings.cgroups?.sharesProcessors ?? false
        return SandboxFinding(
            "cgroup-processors",
            isPresent: isPresent,
            isRequired: false,
            seen: isPresent
                ? "a run gets at most \(limits.processors) processors" : "no group that divides processors",
            meaning:
                "a skill keeps no more processors busy than it may, and all together do not "
                + "starve the worker; without it each process is held to its processor time alone",
            cure: "as for cgroups, with the cpu controller delegated too"
        )
    }

    private static func programs() -> [SandboxFinding] {
        let needed: [(name: String, isRequired: Bool)] = [
            ("bash", true), ("python3", false), ("node", false), ("curl", false), ("jq", false),
            ("git", false),
        ]
        return needed.map { program in
            let isPresent = ["/usr/local/bin", "/usr/bin"].contains {
                access("\($0)/\(program.name)", X_OK) == 0
            }
            return SandboxFinding(
                "program-\(program.name)",
                isPresent: isPresent,
                isRequired: program.isRequired,
                seen: isPresent ? "in /usr" : "not in /usr/bin or /usr/local/bin",
                meaning: "skills that need \(program.name) can run",
                cure: "apt-get install \(program.name == "node" ? "nodejs" : program.name)"
            )
        }
    }

    private static func wholeRun(_ settings: LinuxSandbox.Settings) async -> SandboxFinding {
        var seen: String
        var isPresent = false
        do throws(SandboxError) {
            let sandbox = try LinuxSandbox(settings.withNoneAhead)
            let outcome = try await sandbox.run(SandboxRun(command: ["true"])) { _, _ in }
            isPresent = outcome.succeeded
            seen = isPresent ? "a command ran" : "the command `true` ended with \(outcome.ending)"
        } catch {
            seen = error.detail
        }
        return SandboxFinding(
            "run",
            isPresent: isPresent,
            seen: seen,
            meaning: "a command passes through every layer",
            cure: "mend what is named here and above"
        )
    }

    private static func words(_ error: Int32) -> String { String(cString: strerror(error)) }
}
