// Everything the child needs, prepared by the spawner before clone3.
#pragma once
#include <linux/filter.h>
#include <stdint.h>

#include "CSandbox.h"

// Descriptors of the child have fixed numbers, so that one close_range drops everything else.
enum child_descriptor {
    CHILD_INPUT = 3,
    CHILD_OUTPUT,
    CHILD_ERROR,
    CHILD_REPORT,
    CHILD_ALIVE,     // read end of a pipe that only the spawner writes: hang-up means the spawner is gone
    CHILD_IDMAP,     // user namespace that maps the workspace's owner; only when the spawner is root
    CHILD_CGROUPS,   // cgroup.procs of up to two groups to enter
    CHILD_SPARE = CHILD_CGROUPS + 2    // first number that is not kept
};

#define SYSTEM_ENTRIES 8

// A name at the root that the host's programs need.
struct system_entry {
    const char *name;
    char link[64];    // a link's target, else "" and the folder is bound read-only
    int is_present;
};

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

    // Whether the spawner has the host's root: then namespaces belong to the host, the sandbox to an own user id.
    int is_privileged;
    unsigned outside_user;
    unsigned outside_group;
    struct system_entry system[SYSTEM_ENTRIES];
    int landlock_version;
    int is_lenient;
    struct sock_fprog filter;
    int descriptors[CHILD_SPARE];
};

#define INSIDE_ID 1000

// child.c: pid 1 of the sandbox; never returns.
_Noreturn void sandbox_child(struct sandbox_plan *plan);
// Writes a failure to the report pipe and exits.
_Noreturn void child_fail(enum sandbox_step step, long error);

static inline long child_need(enum sandbox_step step, long result) {
    if (result < 0) child_fail(step, -result);
    return result;
}

// identity.c
void identity_enter(const struct sandbox_plan *plan);
void identity_leave_root(const struct sandbox_plan *plan, int sysctl);
void identity_forbid_namespaces(int sysctl);
void identity_drop_capabilities(void);
// mounts.c
void mounts_build(const struct sandbox_plan *plan);
// limits.c
void limits_set(const struct sandbox_plan *plan);
uint64_t limits_anonymous_memory(int proc);
// filter.c
void filter_landlock(const struct sandbox_plan *plan);
void filter_install(const struct sandbox_plan *plan);

// text.c: what libc would offer, without it.
char *text_append(char *at, const char *text);
char *text_append_number(char *at, uint64_t number, unsigned base);
unsigned long text_length(const char *text);
void text_clear(void *bytes, unsigned long count);
