import CLinux
import CSandbox
import CSeccomp
import Glibc
package import Pipeline

/// A system-call filter as the bytes the kernel takes; compiled once, installed by every sandbox.
package struct SystemCallFilter: Sendable {
    package let program: [UInt8]
    /// System calls that some argument lets through.
    package let allowedCount: Int

    private static let allow: UInt32 = 0x7FFF_0000
    private static let killProcess: UInt32 = 0x8000_0000

    private static func fail(_ error: Int32) -> UInt32 { 0x0005_0000 | UInt32(error) }

    package enum Kind: Sendable {
        case plain
        /// With the door to the worker's proxy.
        case door
        /// With ports, and perhaps with the door.
        case ports
        /// Of an interpreter that waits for its program, and then takes Landlock and the rest of the filter.
        case waiting
    }

    package init(_ kind: Kind = .plain) throws(SandboxError) {
        try Self.checkKernel()
        guard let context = seccomp_init(Self.fail(ENOSYS)) else {
            throw SandboxError(
                .unavailable(layer: "seccomp"),
                "libseccomp cannot start a filter: out of memory"
            )
        }
        defer { seccomp_release(context) }
        // The 32-bit and x32 entries of the kernel have numbers of their own: whoever uses them is killed.
        try Self.check(
            seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, Self.killProcess),
            "bad architecture"
        )
        // A tree of comparisons in place of a list; calls are found in a few steps.
        try Self.check(seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimisation")
        try Self.addRules(to: context)
        switch kind {
        case .plain, .waiting: try Self.addNoTCP(to: context)
        case .door: try Self.addTCP([2], to: context)
        case .ports: try Self.addTCP([2, 10], to: context)
        }
        if kind == .waiting { try Self.addLastWalls(to: context) }
        program = try Self.export(context)
        // And setsockopt, which each of the two filters treats in its own way.
        allowedCount =
            1 + SystemCallRules.allowed.count + SystemCallRules.allowedArguments.count
            + SystemCallRules.allowedMasked.count
    }

    /// libseccomp asks the kernel as well, and says of a refusal only that its rules are wrong.
    private static func checkKernel() throws(SandboxError) {
        let error = sandbox_probe_seccomp()
        guard error != 0 else { return }
        let run = SandboxRun(command: [])
        throw SandboxStep.error(step: SANDBOX_STEP_SECCOMP.rawValue, errno: error, run: run)
    }

    private static func addRules(to context: scmp_filter_ctx) throws(SandboxError) {
        for call in SystemCallRules.allowed { try add(call, allow, to: context) }
        for rule in SystemCallRules.allowedArguments {
            for value in rule.values {
                let test = scmp_arg_cmp(arg: rule.argument, op: SCMP_CMP_EQ, datum_a: value, datum_b: 0)
                try add(rule.call, allow, [test], to: context)
            }
        }
        for rule in SystemCallRules.allowedMasked {
            let test = scmp_arg_cmp(
                arg: rule.argument,
                op: SCMP_CMP_MASKED_EQ,
                datum_a: rule.mask,
                datum_b: rule.value
            )
            try add(rule.call, allow, [test], to: context)
        }
        let notLocal = scmp_arg_cmp(arg: 0, op: SCMP_CMP_NE, datum_a: 1, datum_b: 0)
        try add("socketpair", fail(EAFNOSUPPORT), [notLocal], to: context)
        for call in SystemCallRules.refused { try add(call, fail(EPERM), to: context) }
        for call in SystemCallRules.unsupported { try add(call, fail(EOPNOTSUPP), to: context) }
        for call in SystemCallRules.fatal { try add(call, killProcess, to: context) }
    }

    private static func addNoTCP(to context: scmp_filter_ctx) throws(SandboxError) {
        let notLocal = scmp_arg_cmp(arg: 0, op: SCMP_CMP_NE, datum_a: 1, datum_b: 0)
        try add("socket", fail(EAFNOSUPPORT), [notLocal], to: context)
        try add("setsockopt", allow, to: context)
    }

    private static func addLastWalls(to context: scmp_filter_ctx) throws(SandboxError) {
        let isFilter = scmp_arg_cmp(arg: 0, op: SCMP_CMP_EQ, datum_a: 1, datum_b: 0)
        try add("seccomp", allow, [isFilter], to: context)
        try add("landlock_restrict_self", allow, to: context)
    }

    /// TCP over these families (IPv4 is 2, IPv6 is 10) and nothing else, with the options that programs set;
    /// no way to load a protocol or to repair a connection.
    private static func addTCP(_ families: [UInt64], to context: scmp_filter_ctx) throws(SandboxError) {
        for family in [0, 3, 4, 5, 6, 7, 8, 9, 10] as [UInt64] where !families.contains(family) {
            let isOther = scmp_arg_cmp(arg: 0, op: SCMP_CMP_EQ, datum_a: family, datum_b: 0)
            try add("socket", fail(EAFNOSUPPORT), [isOther], to: context)
        }
        let isBeyond = scmp_arg_cmp(arg: 0, op: SCMP_CMP_GT, datum_a: 10, datum_b: 0)
        try add("socket", fail(EAFNOSUPPORT), [isBeyond], to: context)
        for family in families { try addStreams(of: family, to: context) }
        try addSocketOptions(to: context)
    }

    private static func addStreams(
        of family: UInt64,
        to context: scmp_filter_ctx
    ) throws(SandboxError) {
        let isInternet = scmp_arg_cmp(arg: 0, op: SCMP_CMP_EQ, datum_a: family, datum_b: 0)
        let isStream = scmp_arg_cmp(arg: 1, op: SCMP_CMP_MASKED_EQ, datum_a: 0xF, datum_b: 1)
        for kind in [2, 3, 5] as [UInt64] {
            let isKind = scmp_arg_cmp(arg: 1, op: SCMP_CMP_MASKED_EQ, datum_a: 0xF, datum_b: kind)
            try add("socket", fail(EPROTONOSUPPORT), [isInternet, isKind], to: context)
        }
        for transport in [0, 6] as [UInt64] {
            let isTCP = scmp_arg_cmp(arg: 2, op: SCMP_CMP_EQ, datum_a: transport, datum_b: 0)
            try add("socket", allow, [isInternet, isStream, isTCP], to: context)
        }
    }

    private static func addSocketOptions(to context: scmp_filter_ctx) throws(SandboxError) {
        for (level, options) in SystemCallRules.socketOptions {
            let isLevel = scmp_arg_cmp(arg: 1, op: SCMP_CMP_EQ, datum_a: level, datum_b: 0)
            guard !options.isEmpty else {
                try add("setsockopt", allow, [isLevel], to: context)
                continue
            }
            for option in options {
                let isOption = scmp_arg_cmp(arg: 2, op: SCMP_CMP_EQ, datum_a: option, datum_b: 0)
                try add("setsockopt", allow, [isLevel, isOption], to: context)
            }
        }
    }

    private static func add(
        _ call: String,
        _ action: UInt32,
        _ tests: [scmp_arg_cmp] = [],
        to context: scmp_filter_ctx
    ) throws(SandboxError) {
        let number = seccomp_syscall_resolve_name(call)
        guard number >= 0 else {
            throw SandboxError(
                .unavailable(layer: "seccomp"),
                "libseccomp does not know the system call \(call)"
            )
        }
        try check(seccomp_rule_add_array(context, action, number, UInt32(tests.count), tests), call)
    }

    private static func check(_ result: Int32, _ what: String) throws(SandboxError) {
        guard result < 0 else { return }
        throw SandboxError(
            .unavailable(layer: "seccomp"),
            "libseccomp refuses the rule for \(what): error \(-result); is libseccomp2 older than 2.5?"
        )
    }

    /// Through a pipe: the filter is some KiB and a pipe holds 64. No child may have its other end, or it
    /// would never be at its end.
    private static func export(_ context: scmp_filter_ctx) throws(SandboxError) -> [UInt8] {
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else {
            throw SandboxError(.busy, "no pipe for the filter: \(String(cString: strerror(errno)))")
        }
        defer { close(ends[0]) }
        let result = seccomp_export_bpf(context, ends[1])
        close(ends[1])
        try check(result, "export")
        var program: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = read(ends[0], &piece, piece.count)
            if count <= 0 { return program }
            program += piece[..<count]
        }
    }
}

/// The filters that a spawner holds.
struct SandboxFilters: Sendable {
    let plain: SystemCallFilter
    let door: SystemCallFilter
    let ports: SystemCallFilter
    let waiting: SystemCallFilter

    init() throws(SandboxError) {
        plain = try SystemCallFilter()
        door = try SystemCallFilter(.door)
        ports = try SystemCallFilter(.ports)
        waiting = try SystemCallFilter(.waiting)
    }
}
