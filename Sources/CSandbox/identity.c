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

// Maps our one id in a user namespace just entered. Needs /proc, and to be dumpable, else root owns these files.
static void write_maps(unsigned user, unsigned group) {
    char map[64];
    write_file(SANDBOX_STEP_USER_MAP, AT_FDCWD, "/proc/self/setgroups", "deny");
    char *at = text_append_number(map, INSIDE_ID, 10);
    at = text_append(at, " ");
    at = text_append_number(at, user, 10);
    text_append(at, " 1\n");
    write_file(SANDBOX_STEP_USER_MAP, AT_FDCWD, "/proc/self/uid_map", map);
    at = text_append_number(map, INSIDE_ID, 10);
    at = text_append(at, " ");
    at = text_append_number(at, group, 10);
    text_append(at, " 1\n");
    write_file(SANDBOX_STEP_USER_MAP, AT_FDCWD, "/proc/self/gid_map", map);
}

// An ordinary user's child is born in its user namespace and only needs the map.
void identity_enter(const struct sandbox_plan *plan) {
    if (!plan->is_privileged) write_maps(plan->outside_user, plan->outside_group);
}

// Root's child gives root up for a user id that owns nothing, once the mounts stand: they, the network and the
// processes then belong to the host's namespace, and a capability won back inside is void for them.
void identity_leave_root(const struct sandbox_plan *plan, int sysctl) {
    if (plan->is_privileged) {
        enum sandbox_step step = SANDBOX_STEP_IDENTITY;
        child_need(step, raw_setgroups(0, 0));
        child_need(step, raw_setresgid(plan->outside_group, plan->outside_group, plan->outside_group));
        child_need(step, raw_setresuid(plan->outside_user, plan->outside_user, plan->outside_user));
        child_need(step, raw_prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
        child_need(SANDBOX_STEP_USER_NAMESPACE, raw_unshare(CLONE_NEWUSER));
        write_maps(plan->outside_user, plan->outside_group);
    }
    identity_forbid_namespaces(sysctl);
}

// No namespace can be made inside, whatever the filter says. `sysctl` is the host's /proc/sys/user, opened before
// the root changed; what it means is decided by the namespace of who writes.
void identity_forbid_namespaces(int sysctl) {
    write_file(SANDBOX_STEP_NESTED_NAMESPACES, sysctl, "max_user_namespaces", "0");
}

// Needs CAP_SETPCAP until the last line.
void identity_drop_capabilities(void) {
    enum sandbox_step step = SANDBOX_STEP_CAPABILITIES;
    for (int capability = 0; capability < 64; capability++) {
        if (raw_prctl(PR_CAPBSET_READ, capability, 0, 0, 0) < 0) break;
        child_need(step, raw_prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    }
    child_need(step, raw_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    child_need(step, raw_prctl(PR_SET_SECUREBITS,
                               SECURE_ALL_BITS | SECURE_ALL_LOCKS | issecure_mask(SECURE_NO_CAP_AMBIENT_RAISE) |
                                   issecure_mask(SECURE_NO_CAP_AMBIENT_RAISE_LOCKED),
                               0, 0, 0));
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2];
    text_clear(none, sizeof none);
    child_need(step, raw_capset(&header, none));
}
