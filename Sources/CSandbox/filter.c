// What the sandbox may ask of the kernel: files by Landlock, system calls by a filter that the worker
// compiled.
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>

#include "plan.h"
#include "raw.h"

// Landlock's structures and rights as of its version 6; Debian's headers know version 2.
struct landlock_ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND_TCP (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)
#define RULE_NET_PORT 2
struct landlock_port {
    uint64_t rights;
    uint64_t port;
};
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

#define READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_FOLDER                                                                                         \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |            \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |          \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |             \
     LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)
#define WRITE_DEVICE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
#define ALL_FILES_1 ((1ULL << 13) - 1)

static uint64_t known_rights(int version) {
    uint64_t rights = ALL_FILES_1;
    if (version >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) rights |= FS_TRUNCATE;
    if (version >= 5) rights |= FS_IOCTL_DEV;
    return rights;
}

static void allow(int ruleset, const char *path, uint64_t rights) {
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};
    rule.parent_fd =
        (int)child_need(SANDBOX_STEP_LANDLOCK, raw_openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0));
    child_need(SANDBOX_STEP_LANDLOCK, raw_landlock_add_rule(ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule));
    raw_close(rule.parent_fd);
}

// A second wall behind the mounts: read everything there is, write to /tmp, /work and three devices; no TCP
// but to the door and on the run's own ports, and no signal or abstract socket across it.
int filter_landlock_rules(const struct sandbox_plan *plan) {
    int version = plan->landlock_version;
    if (version < 1 && plan->is_lenient) return -1;
    if (version < 1) child_fail(SANDBOX_STEP_LANDLOCK, ENOSYS);
    uint64_t known = known_rights(version);
    struct landlock_ruleset attributes = {.files = known};
    unsigned long size = 8;
    if (version >= 4) {
        attributes.network = NET_BIND_TCP | NET_CONNECT_TCP;
        size = 16;
    }
    if (version >= 6) {
        attributes.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
        size = 24;
    }
    enum sandbox_step step = SANDBOX_STEP_LANDLOCK;
    int ruleset = (int)child_need(step, raw_landlock_create_ruleset(&attributes, size, 0));
    allow(ruleset, "/", READ);
    allow(ruleset, "/tmp", WRITE_FOLDER & known);
    allow(ruleset, "/work", WRITE_FOLDER & known);
    allow(ruleset, "/dev/null", WRITE_DEVICE & known);
    allow(ruleset, "/dev/zero", WRITE_DEVICE & known);
    allow(ruleset, "/dev/full", WRITE_DEVICE & known);
    if (plan->limits.has_door && version >= 4) {
        struct landlock_port door = {NET_CONNECT_TCP, SANDBOX_DOOR_PORT};
        child_need(step, raw_landlock_add_rule(ruleset, RULE_NET_PORT, &door));
    }
    for (int i = 0; i < SANDBOX_PORTS_MAX && plan->limits.ports[i] && version >= 4; i++) {
        // And to connect: a server may ask itself whether it is well.
        struct landlock_port port = {NET_BIND_TCP | NET_CONNECT_TCP, plan->limits.ports[i]};
        child_need(step, raw_landlock_add_rule(ruleset, RULE_NET_PORT, &port));
    }
    return ruleset;
}

// Needs no_new_privs.
void filter_landlock(const struct sandbox_plan *plan) {
    int ruleset = filter_landlock_rules(plan);
    if (ruleset < 0) return;
    child_need(SANDBOX_STEP_LANDLOCK, raw_landlock_restrict_self(ruleset));
    raw_close(ruleset);
}

enum filter filter_of(const struct sandbox_plan *plan) {
    return plan->limits.ports[0] ? FILTER_PORTS : plan->limits.has_door ? FILTER_DOOR : FILTER_PLAIN;
}

// The last wall, for it allows no set-up call: from here on a program's own calls are all there is.
void filter_install(const struct sandbox_plan *plan, enum filter kind) {
    child_need(SANDBOX_STEP_SECCOMP, raw_seccomp(SECCOMP_SET_MODE_FILTER, 0, &plan->filters[kind]));
}

void filter_install_last(void) {
    // The filter in force decides all else, other architectures too.
    static const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* the call's number */),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_restrict_self, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    static const struct sock_fprog last = {sizeof code / sizeof *code, (struct sock_filter *)code};
    child_need(SANDBOX_STEP_SECCOMP, raw_seccomp(SECCOMP_SET_MODE_FILTER, 0, &last));
}
