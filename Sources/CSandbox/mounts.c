// The sandbox's file tree: a read-only root in memory with the host's programs, private /tmp and /work.
//
// Every step here needs CAP_SYS_ADMIN over the mount namespace. Sources are opened before the root is covered;
// a tree cloned by open_tree is attached to nothing, so its flags are set before anyone can reach it.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "plan.h"
#include "raw.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#define TREE (OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH)
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define MOVE_EMPTY_SOURCE 0x4
#define ATTR_RDONLY 0x1
#define ATTR_NOSUID 0x2
#define ATTR_NODEV 0x4
#define ATTR_NOEXEC 0x8
#define ATTR_IDMAP 0x100000

struct attributes {
    uint64_t set, clear, propagation, userns;
};

struct sources {
    int system[SYSTEM_ENTRIES];
    int devices[5];
    int etc[4];
    int workspace;
    int mounts[SANDBOX_MOUNTS_MAX];
};

static const char *const device_names[] = {"null", "zero", "full", "random", "urandom"};
static const char *const etc_names[] = {"alternatives", "ssl/certs", "ssl/openssl.cnf", "ld.so.cache"};
static const char *const etc_files[][2] = {
    {"passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n"
               "agent:x:1000:1000:agent:/work:/bin/bash\n"
               "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
    {"group", "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n"},
    {"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"},
    {"hosts", "127.0.0.1 localhost\n::1 localhost\n"},
    {"hostname", "sandbox\n"},
};

static int clone_tree(enum sandbox_step step, int at, const char *path, unsigned extra, uint64_t set) {
    int tree = (int)child_need(step, raw_open_tree(at, path, TREE | extra));
    struct attributes attributes = {.set = set};
    child_need(step, raw_mount_setattr(tree, "", AT_EMPTY_PATH | extra, &attributes, sizeof attributes));
    return tree;
}

// What the host may not have is left out; anything else that fails ends the run.
static int clone_optional(const char *path, unsigned extra, uint64_t set) {
    long tree = raw_open_tree(AT_FDCWD, path, TREE | extra);
    if (tree == -ENOENT) return -1;
    child_need(SANDBOX_STEP_SYSTEM, tree);
    struct attributes attributes = {.set = set};
    child_need(SANDBOX_STEP_SYSTEM,
               raw_mount_setattr((int)tree, "", AT_EMPTY_PATH | extra, &attributes, sizeof attributes));
    return (int)tree;
}

static int open_folder(enum sandbox_step step, const char *path) {
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)child_need(step, raw_openat2(AT_FDCWD, path, &how, sizeof how));
}

// The folder the worker looked at, or none: it may have been swapped since. Submounts stay behind.
static int clone_workspace(const struct sandbox_plan *plan) {
    enum sandbox_step step = SANDBOX_STEP_WORKSPACE;
    struct stat stat;
    int folder = open_folder(step, plan->workspace);
    child_need(step, raw_fstat(folder, &stat));
    if (stat.st_dev != plan->limits.workspace_device || stat.st_ino != plan->limits.workspace_inode) {
        child_fail(step, ESTALE);
    }
    int tree = clone_tree(step, folder, "", 0, ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
    raw_close(folder);
    if (plan->is_privileged) {
        struct attributes attributes = {.set = ATTR_IDMAP, .userns = CHILD_IDMAP};
        child_need(SANDBOX_STEP_WORKSPACE_IDMAP,
                   raw_mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
    }
    return tree;
}

static int clone_mount(const struct sandbox_plan *plan, const char *host) {
    enum sandbox_step step = SANDBOX_STEP_MOUNT_SOURCE;
    int folder = open_folder(step, host);
    int tree = clone_tree(step, folder, "", 0, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV);
    raw_close(folder);
    if (plan->is_privileged) {
        // A file system that cannot do this shows its true owners; reading what all may read still works.
        struct attributes attributes = {.set = ATTR_IDMAP, .userns = CHILD_IDMAP};
        raw_mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
    }
    return tree;
}

static void open_sources(const struct sandbox_plan *plan, struct sources *sources) {
    char path[64];
    for (int i = 0; i < SYSTEM_ENTRIES; i++) {
        const struct system_entry *entry = &plan->system[i];
        sources->system[i] = -1;
        if (!entry->is_present || entry->link[0]) continue;
        text_append(text_append(path, "/"), entry->name);
        sources->system[i] = clone_tree(SANDBOX_STEP_SYSTEM, AT_FDCWD, path, AT_RECURSIVE,
                                        ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV);
    }
    for (int i = 0; i < 5; i++) {
        text_append(text_append(path, "/dev/"), device_names[i]);
        sources->devices[i] = clone_tree(SANDBOX_STEP_DEVICES, AT_FDCWD, path, 0, ATTR_NOSUID | ATTR_NOEXEC);
    }
    for (int i = 0; i < 4; i++) {
        text_append(text_append(path, "/etc/"), etc_names[i]);
        sources->etc[i] = clone_optional(path, AT_RECURSIVE, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
    }
    sources->workspace = plan->workspace[0] ? clone_workspace(plan) : -1;
    for (uint32_t i = 0; i < plan->limits.mounts; i++) {
        sources->mounts[i] = clone_mount(plan, plan->mounts[i].host);
    }
}

static void attach(enum sandbox_step step, int tree, const char *target) {
    child_need(step, raw_move_mount(tree, "", AT_FDCWD, target, MOVE_EMPTY_SOURCE));
    raw_close(tree);
}

static void make_file(const char *path, const char *text) {
    int fd = (int)child_need(SANDBOX_STEP_ROOT,
                             raw_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    child_need(SANDBOX_STEP_ROOT, raw_write(fd, text, text_length(text)));
    raw_close(fd);
}

// A folder in memory that belongs to the sandbox; `bytes` and the number of its files are limited.
static void mount_private(const struct sandbox_plan *plan, const char *path) {
    char options[160];
    uint64_t bytes = plan->limits.temporary_bytes;
    unsigned owner = plan->is_privileged ? plan->outside_user : INSIDE_ID;
    unsigned group = plan->is_privileged ? plan->outside_group : INSIDE_ID;
    char *at = text_append(options, "mode=0700,size=");
    at = text_append_number(at, bytes, 10);
    at = text_append(at, ",nr_inodes=");
    at = text_append_number(at, 64 + bytes / 8192, 10);
    at = text_append(at, ",uid=");
    at = text_append_number(at, owner, 10);
    at = text_append(at, ",gid=");
    text_append_number(at, group, 10);
    child_need(SANDBOX_STEP_ROOT, raw_mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options));
}

static void make_system(const struct sandbox_plan *plan, struct sources *sources) {
    for (int i = 0; i < SYSTEM_ENTRIES; i++) {
        const struct system_entry *entry = &plan->system[i];
        if (!entry->is_present) continue;
        if (entry->link[0]) {
            child_need(SANDBOX_STEP_ROOT, raw_symlinkat(entry->link, AT_FDCWD, entry->name));
        } else {
            child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, entry->name, 0755));
            attach(SANDBOX_STEP_SYSTEM, sources->system[i], entry->name);
        }
    }
}

static void make_etc(struct sources *sources) {
    char path[64];
    child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, "etc", 0755));
    child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, "etc/ssl", 0755));
    for (unsigned i = 0; i < sizeof etc_files / sizeof *etc_files; i++) {
        text_append(text_append(path, "etc/"), etc_files[i][0]);
        make_file(path, etc_files[i][1]);
    }
    for (int i = 0; i < 4; i++) {
        if (sources->etc[i] < 0) continue;
        text_append(text_append(path, "etc/"), etc_names[i]);
        if (i < 2) {
            child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, path, 0755));
        } else {
            make_file(path, "");
        }
        attach(SANDBOX_STEP_SYSTEM, sources->etc[i], path);
    }
}

static void make_devices(struct sources *sources) {
    char path[64];
    child_need(SANDBOX_STEP_DEVICES, raw_mkdirat(AT_FDCWD, "dev", 0755));
    for (int i = 0; i < 5; i++) {
        text_append(text_append(path, "dev/"), device_names[i]);
        make_file(path, "");
        attach(SANDBOX_STEP_DEVICES, sources->devices[i], path);
    }
    static const char *const links[][2] = {
        {"/proc/self/fd", "dev/fd"},     {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
        {"/proc/self/fd/2", "dev/stderr"}, {"/tmp", "dev/shm"},
    };
    for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
        child_need(SANDBOX_STEP_DEVICES, raw_symlinkat(links[i][0], AT_FDCWD, links[i][1]));
    }
}

// The mount's path and the folders above it, relative to the new root.
static void make_target(const char *inside) {
    char path[4096];
    unsigned long length = text_length(inside);
    if (length < 2 || length >= sizeof path) child_fail(SANDBOX_STEP_MOUNT_TARGET, ENAMETOOLONG);
    text_append(path, inside + 1);
    for (unsigned long i = 0; i < length; i++) {
        if (path[i] != '/' && path[i]) continue;
        path[i] = 0;
        long result = raw_mkdirat(AT_FDCWD, path, 0755);
        if (result != -EEXIST) child_need(SANDBOX_STEP_MOUNT_TARGET, result);
        if (i + 1 < length) path[i] = '/';
    }
}

static void make_root(const struct sandbox_plan *plan, struct sources *sources) {
    child_need(SANDBOX_STEP_ROOT,
               raw_mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m,nr_inodes=256"));
    child_need(SANDBOX_STEP_ROOT, raw_chdir("/tmp"));
    make_system(plan, sources);
    make_etc(sources);
    make_devices(sources);
    child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, "tmp", 0755));
    child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, "work", 0755));
    child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, "proc", 0755));
    mount_private(plan, "tmp");
    if (sources->workspace >= 0) {
        attach(SANDBOX_STEP_WORKSPACE, sources->workspace, "work");
    } else {
        mount_private(plan, "work");
    }
    for (uint32_t i = 0; i < plan->limits.mounts; i++) {
        make_target(plan->mounts[i].inside);
        attach(SANDBOX_STEP_MOUNT_TARGET, sources->mounts[i], plan->mounts[i].inside + 1);
    }
    child_need(SANDBOX_STEP_PROC, raw_mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                                            "hidepid=invisible,subset=pid"));
}

void mounts_build(const struct sandbox_plan *plan) {
    struct sources sources;
    child_need(SANDBOX_STEP_MOUNT_PRIVATE, raw_mount(0, "/", 0, MS_REC | MS_PRIVATE, 0));
    open_sources(plan, &sources);
    make_root(plan, &sources);
    child_need(SANDBOX_STEP_PIVOT, raw_pivot_root(".", "."));
    child_need(SANDBOX_STEP_PIVOT, raw_umount2(".", MNT_DETACH));
    child_need(SANDBOX_STEP_PIVOT, raw_chdir("/"));
    struct attributes attributes = {.set = ATTR_RDONLY};
    child_need(SANDBOX_STEP_ROOT, raw_mount_setattr(AT_FDCWD, "/", 0, &attributes, sizeof attributes));
}
