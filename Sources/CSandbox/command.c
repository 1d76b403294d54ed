// The command's process, which shares pid 1's memory until its execve: begun for a request at hand, or made
// ahead of it.
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "raw.h"

#define LOOK_NANOSECONDS 10000000

volatile int command_failed;
static char stack[16384] __attribute__((aligned(16)));
// Of one made ahead: whether it waits, whether it may go on, and its id until its execve or end.
static volatile int is_waiting, may_go, tid;
static int ruleset;

// Its program, behind walls that stand already.
static void run(void *argument) {
    const struct sandbox_plan *plan = argument;
    uint64_t no_signals = 0;
    child_need(SANDBOX_STEP_STANDARD_STREAMS, raw_dup3(CHILD_INPUT, 0, 0));
    child_need(SANDBOX_STEP_STANDARD_STREAMS, raw_dup3(CHILD_OUTPUT, 1, 0));
    child_need(SANDBOX_STEP_STANDARD_STREAMS, raw_dup3(CHILD_ERROR, 2, 0));
    child_need(SANDBOX_STEP_STANDARD_STREAMS, raw_close_range(CHILD_INPUT, CHILD_ERROR));
    if (plan->descriptors[CHILD_SECRETS] >= 0) {
        child_need(SANDBOX_STEP_STANDARD_STREAMS, raw_dup3(CHILD_SECRETS, CHILD_INPUT, 0));
    }
    child_need(SANDBOX_STEP_STANDARD_STREAMS, raw_close_range(CHILD_REPORT + 1, ~0U));
    child_need(SANDBOX_STEP_SUPERVISOR, raw_setsid());
    child_need(SANDBOX_STEP_SUPERVISOR, raw_sigprocmask(SIG_SETMASK, &no_signals));
    child_need(SANDBOX_STEP_WORKING_DIRECTORY, raw_chdir(plan->working_directory));
    long error = -ENOENT;
    for (uint32_t i = 0; i < plan->limits.candidates; i++) {
        long result = raw_execve(plan->candidates[i], plan->arguments, plan->variables);
        if (error == -ENOENT) error = result;
    }
    child_fail(SANDBOX_STEP_EXEC, -error);
}

int command_start(struct sandbox_plan *plan) {
    long command = raw_vfork(SIGCHLD, stack + sizeof stack, run, plan);
    child_need(SANDBOX_STEP_SUPERVISOR, command);
    if (command_failed) raw_exit(125);
    return (int)command;
}

// The steps of pid 1 in child.c, but for what a request decides: its mounts and the rules of Landlock over
// them, which pid 1 makes, and limits.
void command_build_walls(const struct sandbox_plan *plan) {
    child_need(SANDBOX_STEP_CGROUP_NAMESPACE, raw_unshare(CLONE_NEWCGROUP));
    mounts_enter_waiting(plan);
    identity_enter(plan);
    identity_forbid_namespaces();
    child_need(SANDBOX_STEP_NO_NEW_PRIVILEGES, raw_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    identity_drop_capabilities();
    raw_umask(077);
}

static void wait_behind_walls(void *argument) {
    struct sandbox_plan *plan = argument;
    enum sandbox_step step = SANDBOX_STEP_TEMPLATE;
    command_build_walls(plan);
    // Pid 1, whose table is ours, could not ask for it by our pidfd: we are not dumpable.
    int mounts = (int)child_need(step, raw_openat(CHILD_PROC, "self/ns/mnt", O_RDONLY | O_CLOEXEC, 0));
    child_need(step, raw_dup3(mounts, CHILD_COMMAND, O_CLOEXEC));
    raw_close(mounts);
    // Of our memory, which is pid 1's.
    child_need(SANDBOX_STEP_SUPERVISOR, raw_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    filter_install(plan, FILTER_WAITING);
    is_waiting = 1;
    raw_futex(&is_waiting, FUTEX_WAKE, 1, 0);
    while (!may_go) raw_futex(&may_go, FUTEX_WAIT, 0, 0);
    if (ruleset >= 0) child_need(SANDBOX_STEP_LANDLOCK, raw_landlock_restrict_self(ruleset));
    filter_install_last();
    // Pid 1 goes on to use its own.
    child_need(SANDBOX_STEP_STANDARD_STREAMS, raw_close_range_unshared(CHILD_SPARE, ~0U));
    limits_set(plan, 0);
    run(plan);
}

int command_prepare(struct sandbox_plan *plan) {
    struct timespec pause = {.tv_nsec = LOOK_NANOSECONDS};
    tid = -1;
    long command =
        raw_clone_vm(CLONE_VM | CLONE_FILES | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
                     stack + sizeof stack, wait_behind_walls, plan, &tid);
    child_need(SANDBOX_STEP_SUPERVISOR, command);
    // One that fails has nobody to tell: without a request there is no report. The next request is served in
    // the plain way.
    while (!is_waiting && tid != 0) raw_futex(&is_waiting, FUTEX_WAIT, 0, &pause);
    if (!is_waiting) raw_exit(125);
    return (int)command;
}

void command_go(int landlock) {
    ruleset = landlock;
    may_go = 1;
    raw_futex(&may_go, FUTEX_WAKE, 1, 0);
}

void command_await_exec(void) {
    for (int last = tid; last != 0; last = tid) raw_futex(&tid, FUTEX_WAIT, last, 0);
    if (command_failed) raw_exit(125);
}
