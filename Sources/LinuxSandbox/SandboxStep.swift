import CSandbox
import Glibc
import Pipeline

/// What each step of building a sandbox is called, and what to do when it fails.
struct SandboxStep {
    let layer: String
    /// What mends it; said after what failed.
    let cure: String

    private static let userNamespaces =
        "allow user namespaces (sysctl -w user.max_user_namespaces=65536; "
        + "where it exists, kernel.unprivileged_userns_clone=1 and "
        + "kernel.apparmor_restrict_unprivileged_userns=0), "
        + "or, in a container, let the outer seccomp profile pass clone, unshare, mount and pivot_root"
    private static let newKernel = "run Linux 5.12 or newer"
    private static let report =
        "this should not happen on a supported kernel (5.12 or newer): please report it"

    init(_ step: UInt32) {
        switch sandbox_step(step) {
        case SANDBOX_STEP_CLONE, SANDBOX_STEP_USER_MAP, SANDBOX_STEP_USER_NAMESPACE:
            self.init("namespaces", Self.userNamespaces)
        case SANDBOX_STEP_CGROUP_JOIN, SANDBOX_STEP_CGROUP_NAMESPACE:
            self.init("cgroup", "run a kernel with CONFIG_CGROUPS, and delegate a group to the worker's user")
        case SANDBOX_STEP_TIME_NAMESPACE:
            self.init("time-namespace", "run Linux 6.0 or newer with CONFIG_TIME_NS")
        case SANDBOX_STEP_IDENTITY:
            self.init(
                "identity",
                "start the worker as an ordinary user, or as root with CAP_SYS_ADMIN, CAP_SYS_CHROOT, "
                    + "CAP_SETUID, CAP_SETGID and CAP_MKNOD"
            )
        case SANDBOX_STEP_NESTED_NAMESPACES:
            self.init(
                "nested-namespaces",
                "make /proc/sys/user writable to the worker; outer containers may hide it"
            )
        case SANDBOX_STEP_TEMPLATE, SANDBOX_STEP_ROOT, SANDBOX_STEP_PIVOT, SANDBOX_STEP_SYSTEM,
            SANDBOX_STEP_MOUNT_TARGET, SANDBOX_STEP_DEVICES:
            self.init(
                "root-filesystem",
                "\(Self.newKernel), and in a container let mount and pivot_root pass"
            )
        case SANDBOX_STEP_WORKSPACE, SANDBOX_STEP_MOUNT_SOURCE:
            self.init("workspace", "check that the folder exists and that the worker may enter it")
        case SANDBOX_STEP_WORKSPACE_IDMAP:
            self.init(
                "idmapped-workspace",
                "keep the data folder on ext4, xfs, btrfs or tmpfs, or start the worker as an ordinary user"
            )
        case SANDBOX_STEP_PROC:
            self.init(
                "proc",
                "in a container, show it an unmasked /proc (--security-opt systempaths=unconfined)"
            )
        case SANDBOX_STEP_LANDLOCK: self.init("landlock", "boot with lsm=landlock,… or report it")
        case SANDBOX_STEP_SECCOMP:
            self.init(
                "seccomp",
                "run a kernel with CONFIG_SECCOMP_FILTER, and in a container let its profile pass seccomp"
            )
        case SANDBOX_STEP_CAPABILITIES: self.init("capabilities", Self.report)
        case SANDBOX_STEP_NO_NEW_PRIVILEGES: self.init("no-new-privileges", Self.report)
        case SANDBOX_STEP_LIMITS:
            self.init("limits", "raise the worker's own limits (ulimit -H) above the skill's")
        case SANDBOX_STEP_NETWORK: self.init("network-namespace", Self.userNamespaces)
        case SANDBOX_STEP_DOOR:
            self.init(
                "network-door",
                "start the worker as an ordinary user, or as root with CAP_NET_ADMIN; or grant "
                    + "no network and no ports"
            )
        case SANDBOX_STEP_INTERPRETER: self.init("interpreter", Self.report)
        case SANDBOX_STEP_HOSTNAME: self.init("uts-namespace", Self.report)
        case SANDBOX_STEP_KEYRING: self.init("keyring", "raise kernel.keys.maxkeys")
        default: self.init("supervisor", Self.report)
        }
    }

    private init(_ layer: String, _ cure: String) {
        self.layer = layer
        self.cure = cure
    }

    static func error(step: UInt32, errno code: Int32, run: SandboxRun) -> SandboxError {
        let known = SandboxStep(step)
        let words = String(cString: strerror(code))
        switch (sandbox_step(step), code) {
        case (_, EAGAIN), (_, ENOMEM), (_, EMFILE), (_, ENFILE),
            (_, ETOOMANYREFS):
            return SandboxError(
                .busy,
                "\(known.layer): \(words): fewer runs at a time, or more memory and processes"
            )
        case (SANDBOX_STEP_REQUEST, _):
            return SandboxError(.invalid, "the spawner refuses the request: \(words)")
        case (SANDBOX_STEP_WORKSPACE, _):
            return SandboxError(.invalid, "workspace \(run.workspace ?? ""): \(words): \(known.cure)")
        case (SANDBOX_STEP_MOUNT_SOURCE, _):
            let folders = run.mounts.map(\.host).joined(separator: ", ")
            return SandboxError(.invalid, "one of the mounts \(folders): \(words): \(known.cure)")
        case (SANDBOX_STEP_WORKING_DIRECTORY, _):
            return SandboxError(
                .invalid,
                "working directory \(run.workingDirectory): \(words): name a folder that exists inside "
                    + "the sandbox"
            )
        default:
            return SandboxError(.unavailable(layer: known.layer), "\(known.layer): \(words): \(known.cure)")
        }
    }
}
