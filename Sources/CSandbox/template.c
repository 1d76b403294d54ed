// The root that all sandboxes of a spawner share: in memory, read-only, with the host's programs and nothing
// else.
//
// Made once, in a mount namespace of its own; each sandbox copies the namespace, which costs as much as it
// has mounts.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "plan.h"
#include "raw.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define DEVICES 5
#define SYSTEM_READ_ONLY (ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV)

static const char *const system_names[] = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"};
static const struct {
    const char *name;
    int minor;
} devices[DEVICES] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
// What the host may not have is left out.
static const char *const etc_folders[] = {"alternatives", "ssl/certs"};
static const char *const etc_copies[] = {"ld.so.cache", "ssl/openssl.cnf"};
static const char *const etc_files[][2] = {
    {"passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n"
               "agent:x:1000:1000:agent:/work:/bin/bash\n"
               "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
    {"group", "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n"},
    {"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"},
    {"hosts", "127.0.0.1 localhost\n::1 localhost\n"},
    {"hostname", "sandbox\n"},
};

static void make_folder(const char *path) {
    child_need(SANDBOX_STEP_ROOT, raw_mkdirat(AT_FDCWD, path, 0755));
}

static void make_file(const char *path, const char *text) {
    int fd = (int)child_need(SANDBOX_STEP_ROOT,
                             raw_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    child_need(SANDBOX_STEP_ROOT, raw_write(fd, text, text_length(text)));
    raw_close(fd);
}

static void copy_file(int host, const char *from, const char *to) {
    static char piece[65536];
    int source = (int)raw_openat(host, from, O_RDONLY | O_CLOEXEC, 0);
    if (source == -ENOENT) return;
    child_need(SANDBOX_STEP_SYSTEM, source);
    int target =
        (int)child_need(SANDBOX_STEP_ROOT, raw_openat(AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL, 0444));
    for (;;) {
        long count = child_need(SANDBOX_STEP_SYSTEM, raw_read(source, piece, sizeof piece));
        if (count == 0) break;
        child_need(SANDBOX_STEP_ROOT, raw_write(target, piece, (unsigned long)count));
    }
    raw_close(source);
    raw_close(target);
}

// A link where the host has a link (usr is merged), else the folder itself.
static void make_system(int host) {
    char link[64];
    for (unsigned i = 0; i < sizeof system_names / sizeof *system_names; i++) {
        const char *name = system_names[i];
        long length = raw_readlinkat(host, name, link, sizeof link - 1);
        if (length == -ENOENT) continue;
        if (length > 0) {
            link[length] = 0;
            child_need(SANDBOX_STEP_ROOT, raw_symlinkat(link, AT_FDCWD, name));
        } else {
            make_folder(name);
            mount_attach(SANDBOX_STEP_SYSTEM,
                         mount_clone(SANDBOX_STEP_SYSTEM, host, name, AT_RECURSIVE, SYSTEM_READ_ONLY), name);
        }
    }
}

static void make_etc(int host) {
    char path[64];
    make_folder("etc");
    make_folder("etc/ssl");
    make_folder(&SANDBOX_CERTIFICATES_FOLDER[1]);
    for (unsigned i = 0; i < sizeof etc_files / sizeof *etc_files; i++) {
        text_append(text_append(path, "etc/"), etc_files[i][0]);
        make_file(path, etc_files[i][1]);
    }
    for (unsigned i = 0; i < sizeof etc_copies / sizeof *etc_copies; i++) {
        text_append(text_append(path, "etc/"), etc_copies[i]);
        copy_file(host, path, path);
    }
    for (unsigned i = 0; i < sizeof etc_folders / sizeof *etc_folders; i++) {
        text_append(text_append(path, "etc/"), etc_folders[i]);
        int folder = (int)raw_openat(host, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (folder == -ENOENT) continue;
        child_need(SANDBOX_STEP_SYSTEM, folder);
        make_folder(path);
        mount_attach(
            SANDBOX_STEP_SYSTEM,
            mount_clone(SANDBOX_STEP_SYSTEM, folder, "", AT_RECURSIVE, SYSTEM_READ_ONLY | ATTR_NOEXEC), path);
        raw_close(folder);
    }
}

// Root makes the devices; an ordinary user may not, and borrows the host's.
static void make_devices(int host, int is_privileged) {
    char path[64];
    enum sandbox_step step = SANDBOX_STEP_DEVICES;
    make_folder("dev");
    child_need(step,
               raw_mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=32"));
    for (int i = 0; i < DEVICES; i++) {
        text_append(text_append(path, "dev/"), devices[i].name);
        if (is_privileged) {
            child_need(step, raw_mknodat(AT_FDCWD, path, S_IFCHR | 0666, 1 << 8 | devices[i].minor));
        } else {
            make_file(path, "");
            mount_attach(step, mount_clone(step, host, path, 0, ATTR_NOSUID | ATTR_NOEXEC), path);
        }
    }
    static const char *const links[][2] = {
        {"/proc/self/fd", "dev/fd"},
        {"/proc/self/fd/0", "dev/stdin"},
        {"/proc/self/fd/1", "dev/stdout"},
        {"/proc/self/fd/2", "dev/stderr"},
        {"/tmp", "dev/shm"},
    };
    for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
        child_need(step, raw_symlinkat(links[i][0], AT_FDCWD, links[i][1]));
    }
    mount_change(step, "dev", ATTR_RDONLY);
}

void template_build(int is_privileged, int ready) {
    raw_umask(0);
    child_need(SANDBOX_STEP_TEMPLATE, raw_unshare(CLONE_NEWNS));
    child_need(SANDBOX_STEP_TEMPLATE, raw_mount(0, "/", 0, MS_REC | MS_PRIVATE, 0));
    int host = (int)child_need(SANDBOX_STEP_TEMPLATE,
                               raw_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
    // On /tmp, which every host has; what it covers is still reached from `host` by names that do not pass
    // it.
    child_need(SANDBOX_STEP_ROOT,
               raw_mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m,nr_inodes=512"));
    child_need(SANDBOX_STEP_ROOT, raw_chdir("/tmp"));
    make_system(host);
    make_etc(host);
    make_devices(host, is_privileged);
    make_folder("proc");
    make_folder("skills");
    make_folder("tmp");
    make_folder("work");
    if (!is_privileged) {
        int proc = mount_clone(SANDBOX_STEP_PROC, host, "proc", AT_RECURSIVE,
                               ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC);
        mount_attach(SANDBOX_STEP_PROC, proc, "proc");
    }
    child_need(SANDBOX_STEP_PIVOT, raw_pivot_root(".", "."));
    child_need(SANDBOX_STEP_PIVOT, raw_umount2(".", MNT_DETACH));
    child_need(SANDBOX_STEP_PIVOT, raw_chdir("/"));
    mount_change(SANDBOX_STEP_ROOT, "/", ATTR_RDONLY);
    raw_close(host);
    raw_write(ready, "", 1);
    for (;;) raw_poll(0, 0, -1);
}
