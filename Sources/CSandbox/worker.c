// The worker's end: starts the spawner and passes packets with descriptors, which Swift cannot spell.
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "CSandbox.h"
#include "raw.h"

int sandbox_spawner_start(const char *executable, uint32_t user, int *control, int *process) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    // A packet is one buffer in the kernel; the default just holds the largest.
    int bytes = 4 * SANDBOX_MESSAGE_BYTES_MAX;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    char decimal[16];
    snprintf(decimal, sizeof decimal, "%u", user);
    char *arguments[] = {(char *)SANDBOX_SPAWNER_NAME, user ? decimal : NULL, NULL};
    char *environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 3);
    posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    // A session of its own: Ctrl-C at the worker's terminal must not end what the worker means to drain.
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    pid_t child = 0;
    int error = posix_spawn(&child, executable, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(pair[1]);
    if (error) {
        close(pair[0]);
        return error;
    }
    *control = pair[0];
    *process = child;
    return 0;
}

long sandbox_send(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count) {
    union {
        char bytes[CMSG_SPACE(SANDBOX_FD_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {(void *)bytes, count};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    if (descriptor_count > 0) {
        size_t length = (size_t)descriptor_count * sizeof(int);
        memset(&control, 0, sizeof control);
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(length);
        struct cmsghdr *sent = CMSG_FIRSTHDR(&header);
        sent->cmsg_level = SOL_SOCKET;
        sent->cmsg_type = SCM_RIGHTS;
        sent->cmsg_len = CMSG_LEN(length);
        memcpy(CMSG_DATA(sent), descriptors, length);
    }
    ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

long sandbox_receive(int socket, void *bytes, size_t count, int *descriptor) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {bytes, count};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    *descriptor = -1;
    ssize_t received = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    if (received < 0) return -errno;
    struct cmsghdr *sent = CMSG_FIRSTHDR(&header);
    if (sent && sent->cmsg_level == SOL_SOCKET && sent->cmsg_type == SCM_RIGHTS &&
        sent->cmsg_len >= CMSG_LEN(sizeof(int))) {
        memcpy(descriptor, CMSG_DATA(sent), sizeof(int));
    }
    return received;
}

int sandbox_landlock_version(void) {
    long version =
        syscall(444 /* landlock_create_ruleset */, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
    return version < 0 ? 0 : (int)version;
}

static void leave(void *argument) {
    (void)argument;
    raw_exit(0);
}

// What the child exits with, or why it could not be born.
static int probe(long flags, void (*body)(void *)) {
    static _Thread_local char stack[4096] __attribute__((aligned(16)));
    int status;
    long child = raw_vfork(flags, stack + sizeof stack, body, NULL);
    if (child < 0) return (int)-child;
    // No exit signal: nobody else's wait for a child of its own can take it.
    while (waitpid((pid_t)child, &status, __WCLONE) < 0 && errno == EINTR) continue;
    return WEXITSTATUS(status);
}

int sandbox_probe_namespaces(uint32_t namespaces) { return probe((long)namespaces, leave); }

static void enter_time(void *unused) {
    (void)unused;
    // Errors fit into a status.
    raw_exit((int)-raw_unshare(CLONE_NEWTIME));
}

int sandbox_probe_time(void) { return probe(CLONE_NEWUSER, enter_time); }

int sandbox_probe_mounts(void) {
    long opened = raw_open_tree(-1, "", 0);
    if (opened == -ENOSYS || opened == -EPERM) return (int)-opened;
    return raw_mount_setattr(-1, "", 0, NULL, 0) == -ENOSYS ? ENOSYS : 0;
}

int sandbox_probe_seccomp(void) {
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return (int)-raw_seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

static int start(char *const *arguments, int output) {
    static char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    pid_t child = vfork();
    if (child == 0) {
        if (output >= 0) dup2(output, STDOUT_FILENO);
        execve(arguments[0], arguments, environment);
        _exit(127);
    }
    return child < 0 ? -errno : child;
}

static int wait_for(int child) {
    int status = 0;
    if (child < 0) return child;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int sandbox_exec_and_wait(char *const *arguments) {
    return wait_for(start(arguments, -1));
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int sandbox_exec_to_first_byte(char *const *arguments, uint64_t *nanoseconds) {
    char byte;
    int ends[2];
    uint64_t begin = now();
    if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
    int child = start(arguments, ends[1]);
    close(ends[1]);
    int is_silent = child < 0 || read(ends[0], &byte, 1) != 1;
    *nanoseconds = now() - begin;
    int status = wait_for(child);
    close(ends[0]);
    return is_silent && status == 0 ? -ENODATA : status;
}

int sandbox_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}
