// Everything the child needs, prepared by the spawner before clone3.
#pragma once
#include <linux/filter.h>
#include <stdint.h>

#include "CSandbox.h"

// Descriptors of the child have fixed numbers, so that one close_range drops everything else.
enum child_descriptor {
    // Of the request.
    CHILD_INPUT = 3,
    CHILD_OUTPUT,
    CHILD_ERROR,
    CHILD_REPORT,
    CHILD_DOOR,    // where to send the listener, or nothing
    CHILD_SECRETS, // a pipe for the command, or nothing
    CHILD_CERTIFICATES, // a file to copy, or nothing
    CHILD_CGROUPS, // cgroup.procs of up to three groups to enter
    // Of the spawner.
    CHILD_ALIVE =
        CHILD_CGROUPS + SANDBOX_CGROUPS_MAX, // read end of a pipe of the spawner's: hang-up means it is gone
    CHILD_PROC,            // the host's /proc, as a path only
    CHILD_TEMPLATE,        // mount namespace with the root that all share
    CHILD_NETWORK,         // an empty network namespace, an earlier sandbox's or made for ports, or -1
    CHILD_IDMAP,           // user namespace that maps the workspace's owner; only when the spawner is root
    CHILD_REQUEST,         // where to wait for the request, or -1 when it is at hand
    CHILD_COMMAND,             // of what waits with us for the request: its mounts, or an interpreter's pidfd
    CHILD_INTERPRETER_CONTROL, // where an interpreter takes its program from
    CHILD_SPARE                // first number that is not kept
};

// Of a plain run, of one with a door to the network, of an interpreter that still has to take its walls, and of
// a run with ports, whether it has a door or not.
enum filter { FILTER_PLAIN, FILTER_DOOR, FILTER_WAITING, FILTER_PORTS, FILTER_COUNT };

struct sandbox_mount {
    const char *host;
    const char *inside;
};

struct sandbox_plan {
    struct sandbox_request limits;
    char *candidates[64];
    char *arguments[SANDBOX_STRINGS_MAX + 1];
    char *variables[SANDBOX_STRINGS_MAX + 1];
    const char *working_directory;
    const char *workspace;
    struct sandbox_mount mounts[SANDBOX_MOUNTS_MAX];

    // Whether the spawner has the host's root: then each sandbox has a user id of its own. Else it lives in a
    // user namespace that maps its own user alone.
    int is_privileged;
    unsigned outside_user;
    unsigned outside_group;
    int landlock_version;
    int is_lenient;
    struct sock_fprog filters[FILTER_COUNT];
    const char *interpreter; // what an interpreter made ahead runs while it waits; NULL for none
    int descriptors[CHILD_SPARE];
};

#define INSIDE_ID 1000

// Whether anything of the network is up.
static inline int plan_uses_network(const struct sandbox_plan *plan) {
    return plan->limits.has_door || plan->limits.ports[0];
}

// An interpreter that waits for its program, see interpreter.c.
struct interpreter {
    int process;
    int pidfd;
    int control;
};

// child.c: pid 1 of the sandbox; never returns.
_Noreturn void sandbox_child(struct sandbox_plan *plan);
// Writes a failure to the report pipe and exits.
_Noreturn void child_fail(enum sandbox_step step, long error);

static inline long child_need(enum sandbox_step step, long result) {
    if (result < 0) child_fail(step, -result);
    return result;
}

// command.c
// Set by child_fail, in the process of the command too, which shares it.
extern volatile int command_failed;
// Its process, once it runs its program.
int command_start(struct sandbox_plan *plan);
// The walls of who waits for a request.
void command_build_walls(const struct sandbox_plan *plan);
// A process behind its walls that waits for the request; CHILD_COMMAND is its mount namespace.
int command_prepare(struct sandbox_plan *plan);
// The request is in the plan, and what it grants is mounted. `landlock` is a ruleset or -1.
void command_go(int landlock);
// Until it runs its program.
void command_await_exec(void);
// spawner.c
// Forks a sandbox, which takes the request at hand, or waits for one on the socket `request`; a pidfd, or
// -errno with the step that failed.
int spawner_spawn(int request, enum sandbox_step *step);
// Tells the worker.
void spawner_reply(uint64_t id, int error, enum sandbox_step step, int pidfd);
// pool.c
// A control group that the worker lent, and the files by which it is entered.
struct pool_group {
    uint64_t id;
    int entrances[SANDBOX_CGROUPS_MAX];
    int count;
};
void pool_set_up(enum sandbox_pool kind, uint32_t size, uint32_t has_groups, const char *interpreter);
void pool_lend(const struct sandbox_group *lent, const int *descriptors, int count);
int pool_wants_more(void);
int pool_is_waiting(void);
// Makes one sandbox that waits for its request. One that cannot be made ends the pool: requests are then
// served one by one and told what is wrong.
void pool_fill(struct sandbox_plan *plan);
// Gives the request to a sandbox that waits: the one in the group that it names, or else, where there are no
// groups, the one that has waited longest. Its pidfd, or -errno; or 0 when none waits and one has to be built,
// in `group` unless that has no entrances, which are then the caller's to close.
int pool_send(const struct sandbox_request *request, const void *bytes, size_t count, const int *descriptors,
              int descriptor_count, struct pool_group *group);
// Auto-sleep: what waits costs memory, and is made again after the next request.
void pool_empty(void);
// request.c
long request_receive(int socket, char *message, int *descriptors, int *descriptor_count);
int request_read(struct sandbox_plan *plan, char *message, size_t count);
void request_descriptors(struct sandbox_plan *plan, const int *descriptors, int count);
// network.c
int network_take(void);
void network_keep(int network);
int network_of(long process);
int network_make(void);
int network_socket(int network);
// identity.c
void identity_change_user(const struct sandbox_plan *plan);
void identity_enter(const struct sandbox_plan *plan);
void identity_forbid_namespaces(void);
void identity_drop_bounding_set(void);
void identity_drop_held(void);
void identity_drop_capabilities(void);
// mounts.c
struct mount_trees {
    int workspace;
    int mounts[SANDBOX_MOUNTS_MAX];
};
void mounts_open(const struct sandbox_plan *plan, struct mount_trees *trees);
void mounts_enter_waiting(const struct sandbox_plan *plan);
void mounts_fill(const struct sandbox_plan *plan, const struct mount_trees *trees);
void mounts_enter(const struct sandbox_plan *plan, const struct mount_trees *trees);
// template.c: the root that all sandboxes of a spawner share, built by a process of its own; never returns.
_Noreturn void template_build(int is_privileged, int ready);
// What mounts.c and template.c share.
#define ATTR_RDONLY 0x1
#define ATTR_NOSUID 0x2
#define ATTR_NODEV 0x4
#define ATTR_NOEXEC 0x8
#define ATTR_IDMAP 0x100000
struct mount_attributes {
    uint64_t set, clear, propagation, userns;
};
int mount_clone(enum sandbox_step step, int at, const char *path, unsigned extra, uint64_t set);
void mount_attach(enum sandbox_step step, int tree, const char *target);
void mount_change(enum sandbox_step step, const char *path, uint64_t set);
// interpreter.c
void interpreter_start(const struct sandbox_plan *plan, struct interpreter *interpreter);
void interpreter_await_request(const struct interpreter *interpreter);
void interpreter_go(const struct sandbox_plan *plan, const struct interpreter *interpreter, int ruleset);
// door.c
void door_open(const struct sandbox_plan *plan);
// limits.c
void limits_set_widest(void);
// `others` are those that the user namespace counts beside the command's: pid 1, where it is in it.
void limits_set(const struct sandbox_plan *plan, unsigned others);
uint64_t limits_anonymous_memory(int proc, uint64_t *processes);
int limits_workspace_is_full(const struct sandbox_plan *plan);
// filter.c
// Landlock's rules as a descriptor, or -1 where the kernel has none and may.
int filter_landlock_rules(const struct sandbox_plan *plan);
void filter_landlock(const struct sandbox_plan *plan);
void filter_install(const struct sandbox_plan *plan, enum filter kind);
enum filter filter_of(const struct sandbox_plan *plan);
// Takes back what FILTER_WAITING allows beyond FILTER_PLAIN.
void filter_install_last(void);

// text.c: what libc would offer, without it.
char *text_append(char *at, const char *text);
char *text_append_number(char *at, uint64_t number, unsigned base);
unsigned long text_length(const char *text);
void text_clear(void *bytes, unsigned long count);
