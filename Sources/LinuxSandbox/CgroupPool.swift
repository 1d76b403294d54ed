import CLinux
import Glibc
package import Pipeline
import Synchronization

/// Control groups for runs, made once and used again: a run's first process puts itself into one.
package final class CgroupPool {
    package final class Group {
        fileprivate let folders: [String]
        /// `cgroup.procs` of each hierarchy, open for writing.
        let entrances: [Int32]
        /// v1: an eventfd that the kernel adds to when all together met the memory limit, of which it then
        /// kills only one; -1 on v2, where it kills all, and where it cannot be had.
        let memoryMet: Int32
        /// What says how often the kernel killed in the group.
        fileprivate let counts: Int32
        fileprivate var memoryBytes = 0
        fileprivate var processes = 0
        fileprivate var processors = 0.0
        fileprivate var killsBefore = 0

        fileprivate var memory: String { folders[0] }
        /// v1: memory, pids, processors; v2: one for all.
        fileprivate var pids: String { folders.count > 1 ? folders[1] : folders[0] }
        fileprivate var share: String { folders[folders.count - 1] }

        fileprivate init(folders: [String], entrances: [Int32], isUnified: Bool) {
            self.folders = folders
            self.entrances = entrances
            let file = folders[0] + (isUnified ? "/memory.events" : "/memory.oom_control")
            counts = open(file, O_RDONLY | O_CLOEXEC)
            memoryMet = isUnified ? -1 : Self.event(in: folders[0], of: counts)
        }

        deinit {
            for descriptor in entrances + [memoryMet, counts] where descriptor >= 0 { close(descriptor) }
        }

        private static func event(in folder: String, of counts: Int32) -> Int32 {
            let event = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
            guard event >= 0 else { return -1 }
            if CgroupControl.write("\(event) \(counts)", to: folder + "/cgroup.event_control") {
                return event
            }
            close(event)
            return -1
        }

        /// Of the kernel's, since the group was made.
        fileprivate func kills() -> Int {
            var text = [UInt8](repeating: 0, count: 512)
            let count = pread(counts, &text, text.count, 0)
            for line in text.prefix(max(0, count)).split(separator: UInt8(ascii: "\n")) {
                let fields = String(decoding: line, as: UTF8.self).split(separator: " ")
                if fields.count == 2, fields[0] == "oom_kill" { return Int(fields[1]) ?? 0 }
            }
            return 0
        }
    }

    /// How many pools this process has had, which must not share groups. Locked while folders come and go
    /// that they do share.
    private static let pools = Mutex(0)
    /// In which a share of processors is counted, the kernel's own default.
    private static let periodMicroseconds = 100_000
    /// Of all sandboxes of this process together, so that they do not starve it. v2: beside its 100. v1
    /// weighs them beside its single threads, 1024 each: as four of those for each processor.
    private static let weight = (
        legacy: "\(4_096 * max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))", unified: "50"
    )

    private let control: CgroupControl
    /// In each hierarchy the process's folder, and in it this pool's.
    private let folders: [(process: String, pool: String)]
    private var free: [Group] = []
    private var made = 0

    /// Nil where groups cannot be made.
    package init?(_ control: CgroupControl) {
        self.control = control
        for base in control.bases { Self.sweep(base) }
        folders = Self.pools.withLock { pools in
            pools += 1
            return control.bases.compactMap { base in
                let process = "\(base)/penstock-\(getpid())"
                let pool = "\(process)/\(pools)"
                return Self.make(process) && Self.make(pool) ? (process, pool) : nil
            }
        }
        guard folders.count == control.bases.count else { return nil }
        if control.isUnified {
            let controllers = "+memory +pids" + (control.sharesProcessors ? " +cpu" : "")
            for folder in [folders[0].process, folders[0].pool]
            where !CgroupControl.write(controllers, to: folder + "/cgroup.subtree_control") {
                return nil
            }
        }
        guard control.sharesProcessors, let process = folders.last?.process else { return }
        // Lost, each sandbox is still held to its share.
        _ =
            control.isUnified
            ? CgroupControl.write(Self.weight.unified, to: process + "/cpu.weight")
            : CgroupControl.write(Self.weight.legacy, to: process + "/cpu.shares")
    }

    deinit {
        for group in free {
            for folder in group.folders { rmdir(folder) }
        }
        Self.pools.withLock { _ in
            for folder in folders {
                rmdir(folder.pool)
                // Stays while another pool is in it.
                rmdir(folder.process)
            }
        }
    }

    private static func make(_ folder: String) -> Bool { mkdir(folder, 0o755) == 0 || errno == EEXIST }

    /// A group with these limits that nobody is in; nil when it cannot be made now.
    package func take(_ limits: SandboxLimits) -> Group? {
        guard let group = free.popLast() ?? make() else { return nil }
        guard set(limits, of: group) else {
            free.append(group)
            return nil
        }
        return group
    }

    /// What is counted for a run from here on, and held to its limits; false when the kernel refuses one.
    package func set(_ limits: SandboxLimits, of group: Group) -> Bool {
        // Room for pid 1 and for one that has ended but is not yet reaped.
        let processes = limits.processes + 2
        if group.processes != processes {
            guard CgroupControl.write("\(processes)", to: group.pids + "/pids.max") else { return false }
            group.processes = processes
        }
        if group.memoryBytes != limits.memoryBytes {
            guard setMemory(limits.memoryBytes, of: group) else { return false }
            group.memoryBytes = limits.memoryBytes
        }
        if control.sharesProcessors, group.processors != limits.processors {
            guard setProcessors(limits.processors, of: group) else { return false }
            group.processors = limits.processors
        }
        return true
    }

    /// Gives the group back; true when the kernel killed a process in it for its memory.
    package func giveBack(_ group: Group) -> Bool {
        var ignored: eventfd_t = 0
        if group.memoryMet >= 0 { eventfd_read(group.memoryMet, &ignored) }
        let before = group.killsBefore
        group.killsBefore = group.kills()
        free.append(group)
        return group.killsBefore > before
    }

    private func make() -> Group? {
        let folders = folders.map { "\($0.pool)/\(made)" }
        var entrances: [Int32] = []
        for folder in folders {
            guard Self.make(folder) else { break }
            let entrance = open(folder + "/cgroup.procs", O_WRONLY | O_CLOEXEC)
            if entrance >= 0 { entrances.append(entrance) }
        }
        guard entrances.count == folders.count else {
            for entrance in entrances { close(entrance) }
            return nil
        }
        made += 1
        if control.isUnified { _ = CgroupControl.write("1", to: folders[0] + "/memory.oom.group") }
        return Group(folders: folders, entrances: entrances, isUnified: control.isUnified)
    }

    private func setMemory(_ bytes: Int, of group: Group) -> Bool {
        let folder = group.memory
        guard !control.isUnified else {
            // Swap would make the limit a slow one; a kernel without swap accounting has no such file.
            _ = CgroupControl.write("0", to: folder + "/memory.swap.max")
            return CgroupControl.write("\(bytes)", to: folder + "/memory.max")
        }
        // Memory and swap together may never be less than memory, so they are lifted before and set after.
        _ = CgroupControl.write("-1", to: folder + "/memory.memsw.limit_in_bytes")
        let isSet = CgroupControl.write("\(bytes)", to: folder + "/memory.limit_in_bytes")
        _ = CgroupControl.write("\(bytes)", to: folder + "/memory.memsw.limit_in_bytes")
        return isSet
    }

    private func setProcessors(_ processors: Double, of group: Group) -> Bool {
        // The kernel takes no less than a millisecond.
        let quota = max(1_000, Int(min(processors, 100_000) * Double(Self.periodMicroseconds)))
        guard !control.isUnified else {
            return CgroupControl.write("\(quota) \(Self.periodMicroseconds)", to: group.share + "/cpu.max")
        }
        // v1 refuses more than a group above has, which then is the narrower limit.
        return CgroupControl.write("\(Self.periodMicroseconds)", to: group.share + "/cpu.cfs_period_us")
            && (CgroupControl.write("\(quota)", to: group.share + "/cpu.cfs_quota_us")
                || CgroupControl.write("-1", to: group.share + "/cpu.cfs_quota_us"))
    }

    /// Removes what workers left behind that were killed: groups named after a process that is gone.
    private static func sweep(_ base: String) {
        for name in names(in: base) {
            let parts = name.split(separator: "-")
            guard parts.count == 2, parts[0] == "penstock", let process = pid_t(parts[1]),
                kill(process, 0) != 0,
                errno == ESRCH
            else { continue }
            let left = "\(base)/\(name)"
            for pool in names(in: left) where Int(pool) != nil {
                for group in names(in: "\(left)/\(pool)") where Int(group) != nil {
                    rmdir("\(left)/\(pool)/\(group)")
                }
                rmdir("\(left)/\(pool)")
            }
            rmdir(left)
        }
    }

    private static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
            )
        }
        return names
    }
}
