import CLinux
import CSandbox
import Glibc
import Pipeline

/// Each run's control group, from its request to its end; touched by the engine's thread only.
final class RunGroups {
    private let control: CgroupControl?
    private let pool: CgroupPool?
    /// A run is not to go without one.
    private let areRequired: Bool
    private let poller: Int32
    /// Of sandboxes made ahead.
    private let wanted: [(pool: sandbox_pool, count: Int)]
    private var lent = LentGroups()

    var exist: Bool { pool != nil }

    init(_ settings: LinuxSandbox.Settings, poller: Int32) {
        control = settings.cgroups
        pool = control.flatMap { CgroupPool($0) }
        areRequired = control != nil && !settings.isLenient
        self.poller = poller
        wanted = [
            (SANDBOX_POOL_PLAIN, min(settings.poolSize, Int(SANDBOX_POOL_MAX))),
            (SANDBOX_POOL_INTERPRETER, min(settings.pythonPoolSize, Int(SANDBOX_POOL_MAX))),
        ]
    }

    /// The group of a sandbox that waits, or one that the run's first process enters. Throws
    /// `.unavailable(layer:)` where groups can be had, but none now.
    func enter(_ run: ActiveRun) throws(SandboxError) {
        choose(run)
        guard run.group == nil, areRequired, let control else { return }
        throw SandboxError(
            .unavailable(layer: "cgroup"),
            "cgroup: no group can be made for the run (\(control)): fewer runs at a time, a higher "
                + "ulimit -n, or delegate these folders to the worker again"
        )
    }

    private func choose(_ run: ActiveRun) {
        guard run.group == nil, let pool else { return }
        // One in which more memory is in use than the run may have keeps its sandbox, for another run.
        if let (id, group) = lent.oldest(of: run.request.pools), pool.set(run.run.limits, of: group) {
            (run.group, run.lentGroup) = (group, id)
            run.request.enter(id)
        } else {
            run.group = pool.take(run.run.limits)
        }
    }

    /// What goes along with the request; a lent group is named in it instead.
    func entrances(of run: ActiveRun) -> [Int32] {
        run.lentGroup == 0 ? run.group?.entrances ?? [] : []
    }

    /// The spawner has the request.
    func sent(_ run: ActiveRun) {
        lent.take(run.lentGroup)
        guard let met = run.group?.memoryMet, met >= 0 else { return }
        let data = epoll_data_t(u64: run.id << 3 | ActiveRun.Channel.memory.rawValue)
        var event = epoll_event(events: EPOLLIN.rawValue, data: data)
        epoll_ctl(poller, EPOLL_CTL_ADD, met, &event)
    }

    func leave(_ run: ActiveRun) {
        // One that was only chosen is still lent, or was given back with the others.
        guard let group = run.group, let pool, run.lentGroup == 0 || run.isSent else { return }
        if group.memoryMet >= 0 { epoll_ctl(poller, EPOLL_CTL_DEL, group.memoryMet, nil) }
        run.isOutOfMemory = pool.giveBack(group)
    }

    /// So that as many sandboxes can be made ahead as the settings want. One that the spawner's queue has no
    /// room for follows with the next run.
    func lend(to control: Int32, number: () -> UInt64) {
        guard let pool else { return }
        for (kind, count) in wanted {
            while lent.count(kind) < count {
                guard let group = pool.take(.standard) else { return }
                guard lent.lend(group, number(), for: kind, control) else {
                    _ = pool.giveBack(group)
                    return
                }
            }
        }
    }

    /// The spawner's word on a lent group; false when it is on something else.
    func hear(_ id: UInt64, errno code: Int32) -> Bool { lent.hear(id, isReady: code == 0) }

    func loseSpawner() {
        for group in lent.takeAll() { _ = pool?.giveBack(group) }
    }
}

/// Control groups that the spawner has for sandboxes made ahead: to enter one may take long, and one that
/// waits has done so. Touched by the engine's thread only.
///
/// A group goes: lent → ready (a sandbox waits in it) → taken (named in a request), or back to lent when what
/// waits is given up.
struct LentGroups {
    private struct Loan {
        let group: CgroupPool.Group
        let pool: sandbox_pool
    }

    private var loans: [UInt64: Loan] = [:]
    /// In the order in which their sandboxes were made.
    private var ready: [UInt64] = []

    func count(_ pool: sandbox_pool) -> Int { loans.values.count { $0.pool == pool } }

    /// False when the spawner's queue has no room for it now.
    mutating func lend(
        _ group: CgroupPool.Group,
        _ id: UInt64,
        for pool: sandbox_pool,
        _ control: Int32
    ) -> Bool {
        var lent = sandbox_group()
        lent.message = SANDBOX_GROUP.rawValue
        (lent.pool, lent.id) = (pool.rawValue, id)
        let size = MemoryLayout<sandbox_group>.size
        let count = Int32(group.entrances.count)
        let sent = withUnsafeBytes(of: &lent) {
            sandbox_send(control, $0.baseAddress, size, group.entrances, count)
        }
        guard sent == size else { return false }
        loans[id] = Loan(group: group, pool: pool)
        return true
    }

    /// The spawner's word on a group; false when it is about none of these.
    mutating func hear(_ id: UInt64, isReady: Bool) -> Bool {
        guard loans[id] != nil else { return false }
        ready.removeAll { $0 == id }
        if isReady { ready.append(id) }
        return true
    }

    /// The group whose sandbox has waited longest, of the first of the pools that has one.
    func oldest(of pools: [sandbox_pool]) -> (id: UInt64, group: CgroupPool.Group)? {
        for pool in pools {
            for id in ready {
                if let loan = loans[id], loan.pool == pool { return (id, loan.group) }
            }
        }
        return nil
    }

    /// It was named in a request, and is the worker's again.
    mutating func take(_ id: UInt64) {
        loans[id] = nil
        ready.removeAll { $0 == id }
    }

    /// The spawner is gone.
    mutating func takeAll() -> [CgroupPool.Group] {
        defer { self = LentGroups() }
        return loans.values.map(\.group)
    }
}
