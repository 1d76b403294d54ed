// Direct system calls: all that the child may use between clone3 and execve.
//
// The process that forks has an own libc whose locks another thread may hold, and errno is shared with it
// while memory is; so nothing here touches libc. Each call returns what the kernel returned: -errno when it
// failed.
#pragma once
#ifndef __x86_64__
#error "The sandbox knows the system calls of x86_64 only"
#endif
#include <linux/sched.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

static inline long raw_call(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define RAW(number, a, b, c, d, e) raw_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

static inline long raw_openat(int at, const char *path, int flags, int mode) {
    return RAW(SYS_openat, at, path, flags, mode, 0);
}
static inline long raw_openat2(int at, const char *path, const void *how, unsigned long size) {
    return RAW(SYS_openat2, at, path, how, size, 0);
}
static inline long raw_close(int fd) {
    return RAW(SYS_close, fd, 0, 0, 0, 0);
}
static inline long raw_close_range(unsigned first, unsigned last) {
    return RAW(SYS_close_range, first, last, 0, 0, 0);
}
// Of a table of one's own from here on, where it was shared.
static inline long raw_close_range_unshared(unsigned first, unsigned last) {
    return RAW(SYS_close_range, first, last, 2 /* CLOSE_RANGE_UNSHARE */, 0, 0);
}
static inline long raw_dup3(int from, int to, int flags) {
    return RAW(SYS_dup3, from, to, flags, 0, 0);
}
static inline long raw_read(int fd, void *bytes, unsigned long count) {
    return RAW(SYS_read, fd, bytes, count, 0, 0);
}
static inline long raw_write(int fd, const void *bytes, unsigned long count) {
    return RAW(SYS_write, fd, bytes, count, 0, 0);
}
static inline long raw_fcntl(int fd, int command, long argument) {
    return RAW(SYS_fcntl, fd, command, argument, 0, 0);
}
static inline long raw_recvmsg(int socket, void *message, int flags) {
    return RAW(SYS_recvmsg, socket, message, flags, 0, 0);
}
static inline long raw_socket(int family, int type, int protocol) {
    return RAW(SYS_socket, family, type, protocol, 0, 0);
}
static inline long raw_socketpair(int family, int type, int protocol, int *pair) {
    return RAW(SYS_socketpair, family, type, protocol, pair, 0);
}
static inline long raw_bind(int socket, const void *address, unsigned length) {
    return RAW(SYS_bind, socket, address, length, 0, 0);
}
static inline long raw_listen(int socket, int waiting) {
    return RAW(SYS_listen, socket, waiting, 0, 0, 0);
}
static inline long raw_ioctl(int fd, unsigned long request, void *argument) {
    return RAW(SYS_ioctl, fd, request, argument, 0, 0);
}
static inline long raw_sendmsg(int socket, const void *message, int flags) {
    return RAW(SYS_sendmsg, socket, message, flags, 0, 0);
}
static inline long raw_getdents64(int fd, void *bytes, unsigned long count) {
    return RAW(SYS_getdents64, fd, bytes, count, 0, 0);
}
static inline long raw_lseek(int fd, long offset, int whence) {
    return RAW(SYS_lseek, fd, offset, whence, 0, 0);
}
static inline long raw_fstat(int fd, void *stat) {
    return RAW(SYS_fstat, fd, stat, 0, 0, 0);
}
static inline long raw_fstatat(int at, const char *path, void *stat, int flags) {
    return RAW(SYS_newfstatat, at, path, stat, flags, 0);
}
static inline long raw_fstatfs(int fd, void *statfs) {
    return RAW(SYS_fstatfs, fd, statfs, 0, 0, 0);
}
static inline long raw_poll(void *polled, unsigned long count, int timeout) {
    return RAW(SYS_poll, polled, count, timeout, 0, 0);
}
static inline long raw_mkdirat(int at, const char *path, int mode) {
    return RAW(SYS_mkdirat, at, path, mode, 0, 0);
}
static inline long raw_symlinkat(const char *target, int at, const char *path) {
    return RAW(SYS_symlinkat, target, at, path, 0, 0);
}
static inline long raw_readlinkat(int at, const char *path, char *target, unsigned long size) {
    return RAW(SYS_readlinkat, at, path, target, size, 0);
}
static inline long raw_chdir(const char *path) {
    return RAW(SYS_chdir, path, 0, 0, 0, 0);
}
static inline long raw_umask(int mask) {
    return RAW(SYS_umask, mask, 0, 0, 0, 0);
}

static inline long raw_mount(const char *source, const char *target, const char *type, unsigned long flags,
                             const char *data) {
    return RAW(SYS_mount, source, target, type, flags, data);
}
static inline long raw_umount2(const char *target, int flags) {
    return RAW(SYS_umount2, target, flags, 0, 0, 0);
}
static inline long raw_pivot_root(const char *to, const char *old) {
    return RAW(SYS_pivot_root, to, old, 0, 0, 0);
}
static inline long raw_open_tree(int at, const char *path, unsigned flags) {
    return RAW(SYS_open_tree, at, path, flags, 0, 0);
}
static inline long raw_mount_setattr(int at, const char *path, unsigned flags, const void *attributes,
                                     unsigned long size) {
    return RAW(SYS_mount_setattr, at, path, flags, attributes, size);
}
static inline long raw_move_mount(int from, const char *source, int to, const char *target, unsigned flags) {
    return RAW(SYS_move_mount, from, source, to, target, flags);
}

static inline long raw_clock_gettime(int clock, void *time) {
    return RAW(SYS_clock_gettime, clock, time, 0, 0, 0);
}
static inline long raw_fsopen(const char *type) {
    return RAW(SYS_fsopen, type, 1 /* FSOPEN_CLOEXEC */, 0, 0, 0);
}
static inline long raw_fsconfig(int fs, unsigned command, const char *key, const char *value) {
    return RAW(SYS_fsconfig, fs, command, key, value, 0);
}
static inline long raw_fsmount(int fs, unsigned attributes) {
    return RAW(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, attributes, 0, 0);
}
static inline long raw_mknodat(int at, const char *path, int mode, int device) {
    return RAW(SYS_mknodat, at, path, mode, device, 0);
}
static inline long raw_setns(int space, int kind) {
    return RAW(SYS_setns, space, kind, 0, 0, 0);
}

static inline long raw_unshare(unsigned long flags) {
    return RAW(SYS_unshare, flags, 0, 0, 0, 0);
}
static inline long raw_sethostname(const char *name, unsigned long length) {
    return RAW(SYS_sethostname, name, length, 0, 0, 0);
}
static inline long raw_setgroups(unsigned long count, const void *groups) {
    return RAW(SYS_setgroups, count, groups, 0, 0, 0);
}
static inline long raw_setresuid(unsigned real, unsigned effective, unsigned saved) {
    return RAW(SYS_setresuid, real, effective, saved, 0, 0);
}
static inline long raw_setresgid(unsigned real, unsigned effective, unsigned saved) {
    return RAW(SYS_setresgid, real, effective, saved, 0, 0);
}
static inline long raw_capset(void *header, const void *data) {
    return RAW(SYS_capset, header, data, 0, 0, 0);
}
static inline long raw_prctl(int option, long a, long b, long c, long d) {
    return RAW(SYS_prctl, option, a, b, c, d);
}
static inline long raw_keyctl(int operation, const char *argument) {
    return RAW(SYS_keyctl, operation, argument, 0, 0, 0);
}
static inline long raw_seccomp(unsigned operation, unsigned flags, const void *program) {
    return RAW(SYS_seccomp, operation, flags, program, 0, 0);
}
static inline long raw_landlock_create_ruleset(const void *attributes, unsigned long size, unsigned flags) {
    return RAW(SYS_landlock_create_ruleset, attributes, size, flags, 0, 0);
}
static inline long raw_landlock_add_rule(int ruleset, int type, const void *rule) {
    return RAW(SYS_landlock_add_rule, ruleset, type, rule, 0, 0);
}
static inline long raw_landlock_restrict_self(int ruleset) {
    return RAW(SYS_landlock_restrict_self, ruleset, 0, 0, 0, 0);
}
static inline long raw_prlimit64(int resource, const void *limit) {
    return RAW(SYS_prlimit64, 0, resource, limit, 0, 0);
}

static inline long raw_clone3(const void *arguments, unsigned long size) {
    return RAW(SYS_clone3, arguments, size, 0, 0, 0);
}
static inline long raw_setsid(void) {
    return RAW(SYS_setsid, 0, 0, 0, 0, 0);
}
static inline long raw_kill(int pid, int signal) {
    return RAW(SYS_kill, pid, signal, 0, 0, 0);
}
static inline long raw_wait4(int pid, int *status, int options, void *usage) {
    return RAW(SYS_wait4, pid, status, options, usage, 0);
}
static inline long raw_sigprocmask(int how, const uint64_t *set) {
    return RAW(SYS_rt_sigprocmask, how, set, 0, sizeof *set, 0);
}
static inline long raw_sigtimedwait(const uint64_t *set, const void *timeout) {
    return RAW(SYS_rt_sigtimedwait, set, 0, timeout, sizeof *set, 0);
}
static inline long raw_execve(const char *path, char *const *arguments, char *const *environment) {
    return RAW(SYS_execve, path, arguments, environment, 0, 0);
}
_Noreturn static inline void raw_exit(int status) {
    for (;;) RAW(SYS_exit_group, status, 0, 0, 0, 0);
}

static inline long raw_futex(const volatile int *word, int operation, int value, const void *timeout) {
    return RAW(SYS_futex, word, operation, value, timeout, 0);
}

// Runs `child(argument)` in a process of these clone flags that shares this memory, on a stack of its own,
// because the caller's frame would be overwritten. `child` must not return. `tid` is where the kernel writes what
// the flags say.
static inline long raw_clone_vm(long flags, char *stack_top, void (*child)(void *), void *argument,
                                volatile int *tid) {
    long result;
    uint64_t *top = (uint64_t *)((uintptr_t)stack_top & ~(uintptr_t)15);
    register long r10 __asm__("r10") = (long)(uintptr_t)tid;
    register long r8 __asm__("r8") = 0;
    *--top = (uint64_t)(uintptr_t)argument;
    *--top = (uint64_t)(uintptr_t)child;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "pop %%rax\n\t"
                     "pop %%rdi\n\t"
                     "call *%%rax\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone), "D"(flags), "S"(top), "d"(0L), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

// The same, while the caller waits for its execve or exit.
static inline long raw_vfork(long flags, char *stack_top, void (*child)(void *), void *argument) {
    return raw_clone_vm(flags | CLONE_VM | CLONE_VFORK, stack_top, child, argument, 0);
}
