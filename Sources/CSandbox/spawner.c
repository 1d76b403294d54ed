// The spawner: waits for requests, forks a sandbox for each, reaps them. One thread, no allocation after
// start.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plan.h"
#include "raw.h"

#define CONTROL 3
#define FIRST_FREE 24
#define SLOTS 4096
// Host user ids for sandboxes start here: above what distributions, containers and systemd give out.
#define USER_BASE 0x70000000u

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#define NAMESPACES (CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)
#define QUIET_MILLISECONDS 2

struct slot {
    pid_t process;
    int network;
    uint64_t run; // whose network it is, where the run has ports; else 0
    int idmap; // user namespace that shows the worker's files as this slot's; 0 until needed
};

static struct sandbox_plan plan;
static struct slot slots[SLOTS];
static char message[SANDBOX_MESSAGE_BYTES_MAX];
static char filter_code[FILTER_COUNT][SANDBOX_FILTER_BYTES_MAX];
static char interpreter[SANDBOX_INTERPRETER_BYTES_MAX];
static int pool_idle_milliseconds;
// Until the first request, and when there was none for long.
static int is_pool_asleep = 1;
static int alive[2];
static unsigned user_base;
static int proc;
static int template = -1;
static int template_error;
static enum sandbox_step template_step;
// Builds the root that the sandboxes share; what failed is told to each request.
static void make_template(void) {
    int report[2], ready[2];
    char path[64];
    char byte;
    struct sandbox_report failure;
    if (pipe2(report, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0) _exit(1);
    pid_t builder = fork();
    if (builder < 0) _exit(1);
    if (builder == 0) {
        close(ready[0]);
        dup2(report[1], CHILD_REPORT);
        template_build(plan.is_privileged, ready[1]);
    }
    close(report[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) == 1) {
        snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)builder);
        template = open(path, O_RDONLY | O_CLOEXEC);
    } else if (read(report[0], &failure, sizeof failure) == sizeof failure) {
        template_step = failure.step;
        template_error = failure.value;
    }
    close(report[0]);
    close(ready[0]);
    kill(builder, SIGKILL);
    waitpid(builder, NULL, 0);
}

static int write_text(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    int is_written = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0) close(file);
    return is_written;
}

// An ordinary user gets the right to build in a user namespace that maps its own user to itself.
static void enter_user_namespace(void) {
    char map[64];
    unsigned user = geteuid(), group = getegid();
    template_step = SANDBOX_STEP_USER_NAMESPACE;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        template_error = errno;
        return;
    }
    snprintf(map, sizeof map, "%u %u 1\n", user, user);
    int is_mapped = write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1\n", group, group);
    if (is_mapped && write_text("/proc/self/gid_map", map)) return;
    template_step = SANDBOX_STEP_USER_MAP;
    template_error = errno;
}

// A namespace that maps the worker's user to the slot's, for idmapped mounts; -errno when it cannot be made.
static int make_idmap(unsigned user) {
    struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = 0};
    char path[64];
    char map[64];
    static const char *const files[] = {"uid_map", "gid_map"};
    long child = raw_clone3(&arguments, sizeof arguments);
    if (child < 0) return (int)child;
    if (child == 0) {
        for (;;) raw_poll(0, 0, -1);
    }
    snprintf(map, sizeof map, "0 %u 1\n", user);
    int failed = 0;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%ld/%s", child, files[i]);
        int file = open(path, O_WRONLY | O_CLOEXEC);
        failed |= file < 0 || write(file, map, strlen(map)) < 0;
        if (file >= 0) close(file);
    }
    snprintf(path, sizeof path, "/proc/%ld/ns/user", child);
    int space = failed ? -EPERM : open(path, O_RDONLY | O_CLOEXEC);
    if (space == -1) space = -errno;
    kill((pid_t)child, SIGKILL);
    waitpid((pid_t)child, NULL, __WALL);
    return space;
}

static void reap(void) {
    for (;;) {
        pid_t process = waitpid(-1, NULL, WNOHANG);
        if (process <= 0) return;
        for (int i = 0; i < SLOTS; i++) {
            if (slots[i].process != process) continue;
            slots[i].process = 0;
            if (slots[i].network < 0) continue;
            if (slots[i].run) {
                close(slots[i].network);
            } else {
                network_keep(slots[i].network);
            }
        }
    }
}

static int free_slot(void) {
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].process == 0) return i;
    }
    return -1;
}

// What the sandbox needs from its slot; 0, or -errno with the step that failed.
static int prepare_slot(int index, enum sandbox_step *step) {
    plan.descriptors[CHILD_IDMAP] = -1;
    if (!plan.is_privileged) return 0;
    plan.outside_user = plan.outside_group = user_base + (unsigned)index;
    if (slots[index].idmap <= 0) slots[index].idmap = make_idmap(plan.outside_user);
    *step = SANDBOX_STEP_USER_NAMESPACE;
    if (slots[index].idmap < 0) return slots[index].idmap;
    plan.descriptors[CHILD_IDMAP] = slots[index].idmap;
    return 0;
}

int spawner_spawn(int request, enum sandbox_step *step) {
    int index = free_slot();
    int pidfd = -1;
    *step = SANDBOX_STEP_CLONE;
    if (index < 0) return -EAGAIN;
    int error = prepare_slot(index, step);
    if (error) return error;
    *step = SANDBOX_STEP_CLONE;
    // What had a door or ports may have talked through them: such a namespace is new and used once.
    int has_ports = request < 0 && plan.limits.ports[0];
    int is_private = request < 0 && plan_uses_network(&plan);
    int network = has_ports ? network_make() : is_private ? -1 : network_take();
    if (has_ports && network < 0) {
        *step = SANDBOX_STEP_NETWORK;
        return network;
    }
    plan.descriptors[CHILD_NETWORK] = network;
    plan.descriptors[CHILD_ALIVE] = alive[0];
    plan.descriptors[CHILD_PROC] = proc;
    plan.descriptors[CHILD_TEMPLATE] = template;
    plan.descriptors[CHILD_REQUEST] = request;
    struct clone_args arguments = {
        .flags = NAMESPACES | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | (network < 0 ? CLONE_NEWNET : 0),
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
    };
    long process = raw_clone3(&arguments, sizeof arguments);
    if (process == 0) sandbox_child(&plan);
    if (process < 0) {
        if (has_ports) close(network);
        if (network >= 0 && !has_ports) network_keep(network);
        return (int)process;
    }
    slots[index].process = (pid_t)process;
    slots[index].run = has_ports ? plan.limits.id : 0;
    slots[index].network = network >= 0 || is_private ? network : network_of(process);
    return pidfd;
}

void spawner_reply(uint64_t id, int error, enum sandbox_step step, int pidfd) {
    struct sandbox_reply reply = {.id = id, .error = error, .step = step};
    // A worker that is gone cannot be told; the next receive ends us.
    sandbox_send(CONTROL, &reply, sizeof reply, &pidfd, pidfd >= 0);
}

static void take_hello(size_t count) {
    struct sandbox_hello hello;
    memcpy(&hello, message, sizeof hello);
    const uint32_t bytes[FILTER_COUNT] = {hello.filter_bytes, hello.network_filter_bytes,
                                          hello.waiting_filter_bytes, hello.ports_filter_bytes};
    const char *code = message + sizeof hello;
    size_t sum = sizeof hello + hello.interpreter_bytes;
    for (int i = 0; i < FILTER_COUNT; i++) sum += bytes[i];
    int is_wrong = sum != count || hello.interpreter_bytes > sizeof interpreter ||
                   (hello.interpreter_bytes > 0 && message[count - 1] != 0);
    for (int i = 0; i < FILTER_COUNT && !is_wrong; i++) {
        is_wrong = bytes[i] > sizeof filter_code[i] || bytes[i] % sizeof(struct sock_filter) != 0;
        if (is_wrong) break;
        memcpy(filter_code[i], code, bytes[i]);
        code += bytes[i];
        plan.filters[i].len = (unsigned short)(bytes[i] / sizeof(struct sock_filter));
        plan.filters[i].filter = (struct sock_filter *)filter_code[i];
    }
    if (!is_wrong) {
        memcpy(interpreter, code, hello.interpreter_bytes);
        plan.is_lenient = hello.is_lenient != 0;
        pool_set_up(SANDBOX_POOL_PLAIN, hello.pool_size, hello.has_groups, NULL);
        pool_set_up(SANDBOX_POOL_INTERPRETER, hello.interpreter_bytes ? hello.interpreter_pool_size : 0,
                    hello.has_groups, interpreter);
        pool_idle_milliseconds = (int)hello.pool_idle_seconds * 1000;
    }
    spawner_reply(0, is_wrong ? EINVAL : 0, SANDBOX_STEP_REQUEST, -1);
}

// Gives the request at hand to a sandbox that waits, or builds one; a pidfd, or -errno.
static int start(size_t count, const int *descriptors, int descriptor_count, enum sandbox_step *step) {
    struct pool_group group;
    int pidfd = pool_send(&plan.limits, message, count, descriptors, descriptor_count, &group);
    if (pidfd == 0) {
        request_descriptors(&plan, descriptors, descriptor_count);
        for (int i = 0; i < group.count; i++) plan.descriptors[CHILD_CGROUPS + i] = group.entrances[i];
        pidfd = spawner_spawn(-1, step);
    }
    for (int i = 0; i < group.count; i++) close(group.entrances[i]);
    return pidfd;
}

static void take_request(size_t count, const int *descriptors, int descriptor_count) {
    enum sandbox_step step = SANDBOX_STEP_REQUEST;
    int is_unready = 0;
    for (int i = 0; i < FILTER_COUNT; i++) is_unready |= plan.filters[i].len == 0;
    int error = is_unready || descriptor_count < SANDBOX_FD_COUNT
                    ? EINVAL
                    : request_read(&plan, message, count);
    if (!error && template <0) {
        error = template_error ? template_error : EIO;
        step = template_step;
    }
    int pidfd = error ? -error : start(count, descriptors, descriptor_count, &step);
    spawner_reply(plan.limits.id, pidfd < 0 ? -pidfd : 0, step, pidfd);
    if (pidfd >= 0) close(pidfd);
}

static void take_group(size_t count, const int *descriptors, int descriptor_count) {
    struct sandbox_group group;
    if (count != sizeof group) return;
    memcpy(&group, message, sizeof group);
    pool_lend(&group, descriptors, descriptor_count);
}

static void take_socket(size_t count) {
    struct sandbox_socket asked;
    if (count != sizeof asked) return;
    memcpy(&asked, message, sizeof asked);
    int made = -ESRCH;
    for (int i = 0; i < SLOTS && asked.run; i++) {
        if (slots[i].process && slots[i].run == asked.run) made = network_socket(slots[i].network);
    }
    spawner_reply(asked.id, made < 0 ? -made : 0, SANDBOX_STEP_NETWORK, made);
    if (made >= 0) close(made);
}

static void serve(void) {
    int descriptors[SANDBOX_FD_MAX];
    int descriptor_count;
    uint32_t kind;
    long count = request_receive(CONTROL, message, descriptors, &descriptor_count);
    if (count == -EINTR || count == -EAGAIN) return;
    // The worker is gone; the pipe and the death signal take every sandbox along.
    if (count <= 0) _exit(0);
    memcpy(&kind, message, sizeof kind);
    if (count >= (long)sizeof(struct sandbox_hello) && kind == SANDBOX_HELLO) {
        take_hello((size_t)count);
    } else if (count >= (long)sizeof kind && kind == SANDBOX_SOCKET) {
        take_socket((size_t)count);
    } else if (count >= (long)sizeof kind && kind == SANDBOX_GROUP) {
        take_group((size_t)count, descriptors, descriptor_count);
    } else {
        take_request((size_t)count, descriptors, descriptor_count);
        is_pool_asleep = 0;
    }
    for (int i = 0; i < descriptor_count; i++) close(descriptors[i]);
}

static int has_capabilities(void) {
    static const int needed[] = {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID, CAP_MKNOD};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{0}, {0}};
    if (syscall(SYS_capget, &header, sets) != 0) return 0;
    for (unsigned i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!(sets[0].effective & 1u << needed[i])) return 0;
    }
    return 1;
}

// Whether root here may take on the user ids that sandboxes get: not in a container that maps a few only,
// where we build as an ordinary user does.
static int can_change_user(void) {
    char line[128];
    unsigned inside, outside, count;
    int is_mapped = 0;
    FILE *map = fopen("/proc/self/uid_map", "re");
    if (!map) return 0;
    while (fgets(line, sizeof line, map)) {
        if (sscanf(line, "%u %u %u", &inside, &outside, &count) != 3) continue;
        is_mapped |= inside <= user_base && user_base + SLOTS - inside <= count;
    }
    fclose(map);
    return is_mapped;
}

static void raise_limits(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

// Gives root up for good before anything is served.
static void become(unsigned user) {
    if (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
        _exit(1);
    prctl(PR_SET_DUMPABLE, 1);
}

static _Noreturn void run_spawner(void) {
    sigset_t child_signal;
    raise_limits();
    prctl(PR_SET_NAME, SANDBOX_SPAWNER_NAME);
    close_range(CONTROL + 1, ~0U, 0);
    for (int fd = 0; fd < FIRST_FREE; fd++) {
        if (fd != CONTROL && fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR | O_CLOEXEC);
    }
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child_signal, NULL);
    int ended = signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
    if (ended < 0 || pipe2(alive, O_CLOEXEC) != 0 || chdir("/") != 0) _exit(1);
    plan.outside_user = geteuid();
    plan.outside_group = getegid();
    plan.landlock_version = sandbox_landlock_version();
    user_base = USER_BASE + ((unsigned)getpid() % 32768) * SLOTS;
    plan.is_privileged = geteuid() == 0 && can_change_user();
    if (plan.is_privileged && !has_capabilities()) {
        // Staying root outside, if only in name, would be a weaker wall.
        template_step = SANDBOX_STEP_IDENTITY;
        template_error = EPERM;
    }
    if (!plan.is_privileged) enter_user_namespace();
    proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!template_error) make_template();
    struct pollfd polled[] = {{.fd = CONTROL, .events = POLLIN}, {.fd = ended, .events = POLLIN}};
    for (;;) {
        // The pool is filled one by one when nothing was asked for a while: it would take the processor from
        // the sandbox that was just started.
        int wants = !is_pool_asleep && pool_wants_more();
        int ready = poll(polled, 2,
                         wants               ? QUIET_MILLISECONDS
                         : pool_is_waiting() ? pool_idle_milliseconds
                                             : -1);
        if (ready < 0 && errno != EINTR) _exit(1);
        if (ready == 0 && wants) pool_fill(&plan);
        if (ready == 0 && !wants) {
            pool_empty();
            is_pool_asleep = 1;
        }
        if (ready <= 0) continue;
        if (polled[1].revents) {
            struct signalfd_siginfo ignored;
            while (read(ended, &ignored, sizeof ignored) > 0) continue;
            reap();
        }
        if (polled[0].revents) serve();
    }
}

// Runs before the program's own main, so that a worker needs no second program beside it.
__attribute__((constructor)) static void become_spawner(int count, char **arguments) {
    if (count < 1 || count > 2 || strcmp(arguments[0], SANDBOX_SPAWNER_NAME) != 0) return;
    if (count == 2) become((unsigned)strtoul(arguments[1], NULL, 10));
    run_spawner();
}
