// The sandbox's own part of the file tree: /tmp, /work, /skills and /proc, on the root that template.c made.
//
// Every step here needs CAP_SYS_ADMIN over the mount namespace. Folders of the host are cloned while we still
// see them: a tree cloned by open_tree is attached to nothing, so its flags are set before anyone can reach
// it.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "plan.h"
#include "raw.h"

#define TREE (1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | AT_EMPTY_PATH)
#define MOVE_EMPTY_SOURCE 0x4
#define CONFIGURE_STRING 1
#define CONFIGURE_CREATE 6

int mount_clone(enum sandbox_step step, int at, const char *path, unsigned extra, uint64_t set) {
    int tree = (int)child_need(step, raw_open_tree(at, path, TREE | extra));
    struct mount_attributes attributes = {.set = set};
    child_need(step, raw_mount_setattr(tree, "", AT_EMPTY_PATH | extra, &attributes, sizeof attributes));
    return tree;
}

void mount_attach(enum sandbox_step step, int tree, const char *target) {
    child_need(step, raw_move_mount(tree, "", AT_FDCWD, target, MOVE_EMPTY_SOURCE));
    raw_close(tree);
}

void mount_change(enum sandbox_step step, const char *path, uint64_t set) {
    struct mount_attributes attributes = {.set = set};
    child_need(step, raw_mount_setattr(AT_FDCWD, path, 0, &attributes, sizeof attributes));
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
    int tree = mount_clone(step, folder, "", 0, ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
    raw_close(folder);
    if (plan->is_privileged) {
        struct mount_attributes attributes = {.set = ATTR_IDMAP, .userns = CHILD_IDMAP};
        child_need(SANDBOX_STEP_WORKSPACE_IDMAP,
                   raw_mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
    }
    return tree;
}

static int clone_mount(const struct sandbox_plan *plan, const char *host) {
    enum sandbox_step step = SANDBOX_STEP_MOUNT_SOURCE;
    int folder = open_folder(step, host);
    int tree = mount_clone(step, folder, "", 0, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV);
    raw_close(folder);
    if (plan->is_privileged) {
        // A file system that cannot do this shows its true owners; reading what all may read still works.
        struct mount_attributes attributes = {.set = ATTR_IDMAP, .userns = CHILD_IDMAP};
        raw_mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
    }
    return tree;
}

void mounts_open(const struct sandbox_plan *plan, struct mount_trees *trees) {
    trees->workspace = plan->workspace[0] ? clone_workspace(plan) : -1;
    for (uint32_t i = 0; i < plan->limits.mounts; i++) {
        trees->mounts[i] = clone_mount(plan, plan->mounts[i].host);
    }
}

// A folder in memory that belongs to the sandbox; `bytes` and the number of its files are limited.
static void mount_private(const struct sandbox_plan *plan, const char *path) {
    char options[160];
    uint64_t bytes = plan->limits.temporary_bytes;
    char *at = text_append(options, "mode=0700,size=");
    at = text_append_number(at, bytes, 10);
    at = text_append(at, ",nr_inodes=");
    at = text_append_number(at, 64 + bytes / 8192, 10);
    at = text_append(at, ",uid=");
    at = text_append_number(at, plan->outside_user, 10);
    at = text_append(at, ",gid=");
    text_append_number(at, plan->outside_group, 10);
    child_need(SANDBOX_STEP_ROOT,
               raw_mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options));
}

// The mount's path and the folders above it.
static void make_target(const char *inside) {
    char path[4096];
    unsigned long length = text_length(inside);
    if (length < 2 || length >= sizeof path) child_fail(SANDBOX_STEP_MOUNT_TARGET, ENAMETOOLONG);
    text_append(path, inside);
    for (unsigned long i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i]) continue;
        path[i] = 0;
        long result = raw_mkdirat(AT_FDCWD, path, 0755);
        if (result != -EEXIST) child_need(SANDBOX_STEP_MOUNT_TARGET, result);
        if (i < length) path[i] = '/';
    }
}

static void mount_folders(const struct sandbox_plan *plan, const struct mount_trees *trees) {
    if (plan->limits.mounts == 0) return;
    child_need(SANDBOX_STEP_ROOT, raw_mount("tmpfs", "/skills", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                                            "mode=0755,size=1m,nr_inodes=1024"));
    for (uint32_t i = 0; i < plan->limits.mounts; i++) {
        make_target(plan->mounts[i].inside);
        mount_attach(SANDBOX_STEP_MOUNT_TARGET, trees->mounts[i], plan->mounts[i].inside);
    }
    mount_change(SANDBOX_STEP_ROOT, "/skills", ATTR_RDONLY);
}

// The authorities that the run's programs trust, copied so that no file of the host lies below.
static void mount_certificates(const struct sandbox_plan *plan) {
    static char piece[65536];
    enum sandbox_step step = SANDBOX_STEP_ROOT;
    if (!plan->limits.has_certificates) return;
    child_need(step, raw_mount("tmpfs", SANDBOX_CERTIFICATES_FOLDER, "tmpfs",
                               MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=5m,nr_inodes=4"));
    int file = (int)child_need(step, raw_openat(AT_FDCWD, SANDBOX_CERTIFICATES_FILE,
                                                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    for (;;) {
        long count = child_need(step, raw_read(CHILD_CERTIFICATES, piece, sizeof piece));
        if (count == 0) break;
        child_need(step, raw_write(file, piece, (unsigned long)count));
    }
    raw_close(file);
    raw_close(CHILD_CERTIFICATES);
    mount_change(step, SANDBOX_CERTIFICATES_FOLDER, ATTR_RDONLY);
}

// Our own processes and nothing else. An ordinary user may only make it while it sees the host's, which
// therefore lies in the template, and goes before ours comes.
static void mount_proc(const struct sandbox_plan *plan) {
    enum sandbox_step step = SANDBOX_STEP_PROC;
    int fs = (int)child_need(step, raw_fsopen("proc"));
    child_need(step, raw_fsconfig(fs, CONFIGURE_STRING, "hidepid", "invisible"));
    child_need(step, raw_fsconfig(fs, CONFIGURE_STRING, "subset", "pid"));
    child_need(step, raw_fsconfig(fs, CONFIGURE_CREATE, 0, 0));
    int tree = (int)child_need(step, raw_fsmount(fs, ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC));
    raw_close(fs);
    if (!plan->is_privileged) child_need(step, raw_umount2("/proc", MNT_DETACH));
    mount_attach(step, tree, "/proc");
}

// What each sandbox has of its own, into the mount namespace that we are in.
void mounts_fill(const struct sandbox_plan *plan, const struct mount_trees *trees) {
    mount_private(plan, "/tmp");
    if (trees->workspace >= 0) {
        mount_attach(SANDBOX_STEP_WORKSPACE, trees->workspace, "/work");
    } else {
        mount_private(plan, "/work");
    }
    mount_folders(plan, trees);
    mount_certificates(plan);
}

static void enter_template(void) {
    child_need(SANDBOX_STEP_TEMPLATE, raw_setns(CHILD_TEMPLATE, CLONE_NEWNS));
    child_need(SANDBOX_STEP_ROOT, raw_unshare(CLONE_NEWNS));
}

void mounts_enter(const struct sandbox_plan *plan, const struct mount_trees *trees) {
    enter_template();
    mounts_fill(plan, trees);
    mount_proc(plan);
}

// For an interpreter that waits: the system's programs and its own processes; the rest follows.
void mounts_enter_waiting(const struct sandbox_plan *plan) {
    enter_template();
    mount_proc(plan);
}
