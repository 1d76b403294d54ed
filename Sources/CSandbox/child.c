// Pid 1 of a sandbox and the command it runs, from clone3 to the last process: one list, a step a line.
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "raw.h"

#define WATCH_NANOSECONDS 50000000
#define JOIN_SESSION_KEYRING 1
#define ANY_ENDED (1 /* WNOHANG */ | 0x40000000 /* __WALL */)

static int has_met_processes;

void child_fail(enum sandbox_step step, long error) {
    struct sandbox_report report = {.kind = SANDBOX_REPORT_FAILED, .step = step, .value = (int32_t)error};
    command_failed = 1;
    raw_write(CHILD_REPORT, &report, sizeof report);
    raw_exit(125);
}

// Moves what is needed to its fixed number. Sources lie above the fixed numbers: the spawner keeps those
// occupied.
static void take_descriptors(const struct sandbox_plan *plan, int first, int end) {
    for (int fd = first; fd < end; fd++) {
        if (plan->descriptors[fd] < 0) continue;
        child_need(SANDBOX_STEP_DESCRIPTORS, raw_dup3(plan->descriptors[fd], fd, O_CLOEXEC));
    }
}

// Who waits keeps nothing of the spawner's while it does: not the others' sockets and pidfds, which would stay
// open as long, nor its socket to the worker. A null device keeps that one's number, and those of the groups
// that we are in.
static void leave_spawner(void) {
    child_need(SANDBOX_STEP_DESCRIPTORS, raw_dup3(CHILD_OUTPUT, CHILD_INPUT, O_CLOEXEC));
    for (int fd = CHILD_CGROUPS; fd < CHILD_ALIVE; fd++) {
        child_need(SANDBOX_STEP_DESCRIPTORS, raw_dup3(CHILD_OUTPUT, fd, O_CLOEXEC));
    }
    child_need(SANDBOX_STEP_DESCRIPTORS, raw_close_range(CHILD_SPARE, ~0U));
}

// The request: at hand when we were forked for it, else awaited; the end of the socket means that we are not
// needed.
static void take_request(struct sandbox_plan *plan) {
    static char message[SANDBOX_MESSAGE_BYTES_MAX];
    int descriptors[SANDBOX_FD_MAX];
    int descriptor_count;
    if (plan->descriptors[CHILD_REQUEST] >= 0) {
        long count = request_receive(CHILD_REQUEST, message, descriptors, &descriptor_count);
        if (count <= 0 || descriptor_count < SANDBOX_FD_COUNT) raw_exit(125);
        if (request_read(plan, message, (size_t)count)) raw_exit(125);
        request_descriptors(plan, descriptors, descriptor_count);
    }
    take_descriptors(plan, CHILD_REPORT, CHILD_REPORT + 1);
    take_descriptors(plan, CHILD_INPUT, CHILD_ALIVE);
    raw_close_range(CHILD_SPARE, ~0U);
}

// Into the groups that limit us all, before anything is made that they should count. Needs no capability: the
// worker opened the files. Who waits for its request did so before.
static void enter_cgroups(const struct sandbox_plan *plan) {
    for (int fd = CHILD_CGROUPS; fd < CHILD_ALIVE; fd++) {
        if (plan->descriptors[fd] < 0) continue;
        child_need(SANDBOX_STEP_CGROUP_JOIN, raw_write(fd, "0", 1));
        raw_close(fd);
    }
}

// The spawner's death kills us. It may have died before we asked, which the pipe tells.
static void follow_spawner(void) {
    struct pollfd alive = {.fd = CHILD_ALIVE, .events = 0};
    child_need(SANDBOX_STEP_SUPERVISOR, raw_prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
    raw_poll(&alive, 1, 0);
    if (alive.revents) raw_exit(125);
}

// Clocks that start with the sandbox: how long the host has run is nobody's business. Needs CAP_SYS_TIME.
static void enter_time(const struct sandbox_plan *plan) {
    enum sandbox_step step = SANDBOX_STEP_TIME_NAMESPACE;
    struct timespec monotonic, boot;
    char offsets[128];
    long result = raw_unshare(CLONE_NEWTIME);
    if (result == -EINVAL && plan->is_lenient) return;
    child_need(step, result);
    child_need(step, raw_clock_gettime(CLOCK_MONOTONIC, &monotonic));
    child_need(step, raw_clock_gettime(CLOCK_BOOTTIME, &boot));
    char *end = text_append(offsets, "monotonic -");
    end = text_append_number(end, (uint64_t)monotonic.tv_sec, 10);
    end = text_append(end, " 0\nboottime -");
    end = text_append_number(end, (uint64_t)boot.tv_sec, 10);
    end = text_append(end, " 0\n");
    int file = (int)child_need(step, raw_openat(CHILD_PROC, "self/timens_offsets", O_WRONLY | O_CLOEXEC, 0));
    child_need(step, raw_write(file, offsets, (unsigned long)(end - offsets)));
    raw_close(file);
}

_Noreturn static void report_end(int status, enum sandbox_ended_by by, const struct rusage *usage) {
    struct sandbox_report report = {.kind = SANDBOX_REPORT_ENDED, .step = by, .value = status};
    report.has_met_processes = has_met_processes;
    report.cpu_microseconds = (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
                              (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
    report.memory_bytes = (uint64_t)usage->ru_maxrss * 1024;
    raw_write(CHILD_REPORT, &report, sizeof report);
    // The kernel kills and reaps every other process of the namespace before our own end can be seen.
    raw_exit(0);
}

static uint64_t now_nanoseconds(void) {
    struct timespec time;
    raw_clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// When the next looks are due, in nanoseconds of the monotonic clock.
struct watch {
    int proc;
    uint64_t memory_due;
    uint64_t workspace_due;
};

// How much memory all together hold; notes whether they are as many as they may be.
static uint64_t look_at_processes(const struct sandbox_plan *plan, int proc) {
    uint64_t processes = 0;
    uint64_t memory = limits_anonymous_memory(proc, &processes);
    // One of them is us.
    if (processes > plan->limits.processes) has_met_processes = 1;
    return memory;
}

// Looks at what is due. The workspace: the larger it is, the less often, so that it costs a tenth of the time.
static enum sandbox_ended_by watch_limits(const struct sandbox_plan *plan, struct watch *watch) {
    uint64_t begin = now_nanoseconds();
    if (begin < watch->memory_due) return SANDBOX_ENDED_ITSELF;
    watch->memory_due = begin + WATCH_NANOSECONDS;
    if (look_at_processes(plan, watch->proc) > plan->limits.memory_bytes) return SANDBOX_ENDED_MEMORY;
    if (!plan->workspace[0] || begin < watch->workspace_due) return SANDBOX_ENDED_ITSELF;
    begin = now_nanoseconds();
    int is_full = limits_workspace_is_full(plan);
    uint64_t end = now_nanoseconds();
    watch->workspace_due = end + (end - begin) * 10;
    return is_full ? SANDBOX_ENDED_WORKSPACE : SANDBOX_ENDED_ITSELF;
}

#define BIT(signal) (1ULL << ((signal) - 1))
// What the worker may pass to the command through us. Blocked in us, as is everything.
#define RELAYED                                                                                              \
    (BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGUSR1) | BIT(SIGUSR2) | BIT(SIGTERM) | BIT(SIGCONT) | \
     BIT(SIGWINCH))

// Reaps whoever ends until the command has, or all together hold too much. The filter is in force.
_Noreturn static void supervise(const struct sandbox_plan *plan, int command, struct watch *watch) {
    uint64_t awaited = BIT(SIGCHLD) | RELAYED;
    struct timespec pause = {.tv_nsec = WATCH_NANOSECONDS};
    struct rusage usage;
    watch->memory_due = now_nanoseconds() + WATCH_NANOSECONDS;
    text_clear(&usage, sizeof usage);
    for (;;) {
        int status = 0;
        long pid = raw_wait4(-1, &status, ANY_ENDED, &usage);
        if (pid == command) {
            // Who left others behind may have met their limit since the last look.
            if (raw_wait4(-1, 0, ANY_ENDED, 0) == 0) look_at_processes(plan, watch->proc);
            report_end(status, SANDBOX_ENDED_ITSELF, &usage);
        }
        if (pid > 0) continue;
        enum sandbox_ended_by by = watch_limits(plan, watch);
        if (by != SANDBOX_ENDED_ITSELF) report_end(SIGKILL, by, &usage);
        long signal = raw_sigtimedwait(&awaited, &pause);
        // To the command and what it started in its group.
        if (signal > 0 && BIT(signal) & RELAYED) raw_kill(-command, (int)signal);
    }
}

// An empty session keyring: the one we inherited is the worker's. A kernel without keyrings has nothing to
// leak.
static void leave_keyring(void) {
    long keyring = raw_keyctl(JOIN_SESSION_KEYRING, 0);
    if (keyring != -ENOSYS) child_need(SANDBOX_STEP_KEYRING, keyring);
}

// A network with nothing in it: one that an earlier sandbox left as it found it, or the one we were born
// into.
static void enter_network(const struct sandbox_plan *plan) {
    if (plan->descriptors[CHILD_NETWORK] < 0) return;
    child_need(SANDBOX_STEP_NETWORK, raw_setns(CHILD_NETWORK, CLONE_NEWNET));
}

// The last steps before another's program runs. Namespaces, the host's /proc and the clone of the user's map:
// nothing of these may outlive them.
static void close_walls(void) {
    raw_umask(077);
    // Nothing inside may look at or trace us; our /proc/1 belongs to root.
    child_need(SANDBOX_STEP_SUPERVISOR, raw_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    // Again: a change of user takes the death signal back.
    follow_spawner();
}

_Noreturn static void started(const struct sandbox_plan *plan, int command, struct watch *watch) {
    struct sandbox_report report = {.kind = SANDBOX_REPORT_STARTED};
    raw_close_range(CHILD_INPUT, CHILD_ERROR);
    raw_close_range(CHILD_DOOR, CHILD_ALIVE);
    raw_close_range(CHILD_PROC + 1, ~0U);
    raw_write(CHILD_REPORT, &report, sizeof report);
    supervise(plan, command, watch);
}

// What we watch by, our own /proc, in the place of the host's. Before a low limit of open files is set.
static void open_watch(struct watch *watch) {
    enum sandbox_step step = SANDBOX_STEP_SUPERVISOR;
    text_clear(watch, sizeof *watch);
    int proc = (int)child_need(step, raw_openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
    watch->proc = (int)child_need(step, raw_dup3(proc, CHILD_PROC, O_CLOEXEC));
    raw_close(proc);
}

// What the request grants is mounted into the tree of who waits with us, and we give up the right to do that;
// Landlock's rules over the tree, or -1. They are not for us: they would hide from us the processes that we
// watch.
static int grant(const struct sandbox_plan *plan, struct watch *watch) {
    struct mount_trees trees;
    // CAP_SYS_ADMIN where the spawner has it, until identity_drop_held.
    mounts_open(plan, &trees);
    child_need(SANDBOX_STEP_TEMPLATE, raw_setns(CHILD_COMMAND, CLONE_NEWNS));
    mounts_fill(plan, &trees);
    open_watch(watch);
    int ruleset = filter_landlock_rules(plan);
    if (plan->is_privileged) identity_change_user(plan);
    identity_drop_held();
    child_need(SANDBOX_STEP_NO_NEW_PRIVILEGES, raw_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    close_walls();
    return ruleset;
}

// An interpreter waits with us, and takes the program of the request.
_Noreturn static void serve_interpreter(struct sandbox_plan *plan) {
    struct interpreter interpreter;
    struct watch watch;
    interpreter_start(plan, &interpreter);
    identity_drop_bounding_set();
    interpreter_await_request(&interpreter);
    take_request(plan);
    int ruleset = grant(plan, &watch);
    child_need(SANDBOX_STEP_WORKING_DIRECTORY, raw_chdir(plan->working_directory));
    interpreter_go(plan, &interpreter, ruleset);
    // After the descriptors were sent, which a low limit of open files would refuse.
    limits_set(plan, 1);
    filter_install(plan, filter_of(plan));
    started(plan, interpreter.process, &watch);
}

// The command's process waits with us behind its walls.
_Noreturn static void serve_ahead(struct sandbox_plan *plan) {
    struct watch watch;
    int command = command_prepare(plan);
    identity_drop_bounding_set();
    take_request(plan);
    command_go(grant(plan, &watch));
    // Nothing is closed before the command has a table of its own.
    limits_set(plan, 1);
    filter_install(plan, filter_of(plan));
    command_await_exec();
    started(plan, command, &watch);
}

void sandbox_child(struct sandbox_plan *plan) {
    struct mount_trees trees;
    struct watch watch;
    uint64_t all_signals = ~0ULL;
    raw_umask(0);
    // What is blocked waits for us to take it, though we are pid 1; the command starts with none blocked.
    child_need(SANDBOX_STEP_SUPERVISOR, raw_sigprocmask(SIG_SETMASK, &all_signals));
    // The report pipe goes first, so that any failure can be told; what waits for its request has none yet.
    if (plan->descriptors[CHILD_REQUEST] < 0) take_descriptors(plan, CHILD_REPORT, CHILD_REPORT + 1);
    take_descriptors(plan, CHILD_ALIVE, CHILD_COMMAND);
    if (plan->descriptors[CHILD_REQUEST] >= 0) {
        take_descriptors(plan, CHILD_CGROUPS, CHILD_ALIVE);
        enter_cgroups(plan);
        leave_spawner();
    }
    // CAP_SYS_ADMIN where the spawner has it, from here to identity_enter.
    follow_spawner();
    enter_time(plan);
    enter_network(plan);
    child_need(SANDBOX_STEP_HOSTNAME, raw_sethostname("sandbox", 7));
    leave_keyring();
    if (plan->interpreter) serve_interpreter(plan);
    if (plan->descriptors[CHILD_REQUEST] >= 0) serve_ahead(plan);
    take_request(plan);
    enter_cgroups(plan);
    // CAP_NET_ADMIN over our own network.
    door_open(plan);
    child_need(SANDBOX_STEP_CGROUP_NAMESPACE, raw_unshare(CLONE_NEWCGROUP));
    mounts_open(plan, &trees);
    mounts_enter(plan, &trees);
    // CAP_SYS_ADMIN over a user namespace without anything, from here to identity_drop_capabilities.
    identity_enter(plan);
    identity_forbid_namespaces();
    open_watch(&watch);
    limits_set(plan, 1);
    child_need(SANDBOX_STEP_NO_NEW_PRIVILEGES, raw_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    filter_landlock(plan);
    identity_drop_capabilities();
    close_walls();
    // The command has it from us: to compile it twice would cost as much as a fork.
    filter_install(plan, filter_of(plan));
    int command = command_start(plan);
    started(plan, command, &watch);
}
