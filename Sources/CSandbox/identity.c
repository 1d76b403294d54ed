// Who the sandbox is: one unprivileged user id, mapped to 1000 inside, and no capability at all.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <sched.h>

#include "plan.h"
#include "raw.h"

static void write_file(enum sandbox_step step, int at, const char *path, const char *text) {
    int fd = (int)child_need(step, raw_openat(at, path, O_WRONLY | O_CLOEXEC, 0));
    child_need(step, raw_write(fd, text, text_length(text)));
    raw_close(fd);
}

static void write_map(const char *path, unsigned outside) {
    char map[64];
    char *at = text_append_number(map, INSIDE_ID, 10);
    at = text_append(at, " ");
    at = text_append_number(at, outside, 10);
    text_append(at, " 1\n");
    write_file(SANDBOX_STEP_USER_MAP, CHILD_PROC, path, map);
}

// Root takes on a user id that owns nothing.
void identity_change_user(const struct sandbox_plan *plan) {
    enum sandbox_step step = SANDBOX_STEP_IDENTITY;
    child_need(step, raw_setgroups(0, 0));
    child_need(step, raw_setresgid(plan->outside_group, plan->outside_group, plan->outside_group));
    child_need(step, raw_setresuid(plan->outside_user, plan->outside_user, plan->outside_user));
}

// From here on the mounts, the network and the processes belong to a namespace that we have left: a
// capability won back inside is void for them. Root first takes on a user id that owns nothing; an ordinary
// user keeps its own.
void identity_enter(const struct sandbox_plan *plan) {
    if (plan->is_privileged) {
        identity_change_user(plan);
        // A process that is not dumpable does not own its files in /proc.
        child_need(SANDBOX_STEP_IDENTITY, raw_prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    }
    child_need(SANDBOX_STEP_USER_NAMESPACE, raw_unshare(CLONE_NEWUSER));
    write_file(SANDBOX_STEP_USER_MAP, CHILD_PROC, "self/setgroups", "deny");
    write_map("self/uid_map", plan->outside_user);
    write_map("self/gid_map", plan->outside_group);
}

// No namespace can be made inside, whatever the filter says. The host's file, but what it means is decided by
// the namespace of who writes.
void identity_forbid_namespaces(void) {
    write_file(SANDBOX_STEP_NESTED_NAMESPACES, CHILD_PROC, "sys/user/max_user_namespaces", "0");
}

// What a later exec could win, whatever we still hold ourselves: nothing. Needs CAP_SETPCAP.
void identity_drop_bounding_set(void) {
    enum sandbox_step step = SANDBOX_STEP_CAPABILITIES;
    for (int capability = 0; capability < 64; capability++) {
        if (raw_prctl(PR_CAPBSET_READ, capability, 0, 0, 0) < 0) break;
        child_need(step, raw_prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    }
    child_need(step, raw_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    child_need(step,
               raw_prctl(PR_SET_SECUREBITS,
                         SECURE_ALL_BITS | SECURE_ALL_LOCKS | issecure_mask(SECURE_NO_CAP_AMBIENT_RAISE) |
                             issecure_mask(SECURE_NO_CAP_AMBIENT_RAISE_LOCKED),
                         0, 0, 0));
}

void identity_drop_held(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2];
    text_clear(none, sizeof none);
    child_need(SANDBOX_STEP_CAPABILITIES, raw_capset(&header, none));
}

void identity_drop_capabilities(void) {
    identity_drop_bounding_set();
    identity_drop_held();
}
