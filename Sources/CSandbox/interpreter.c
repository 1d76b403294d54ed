// An interpreter that waits inside a sandbox made ahead: its libraries loaded, nobody's program in it yet.
//
// Pid 1 forks it early and keeps its own rights until the request is there; then it mounts what the request
// grants into the interpreter's mount namespace, gives its rights up, and passes the program on. Until that
// moment only our own text has run in the interpreter; from it on every wall stands that others have.
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "plan.h"
#include "raw.h"

#define PROGRAM "/usr/bin/python3"
// Where the interpreter finds its request.
#define INTERPRETER_CONTROL 3
#define REQUEST_DESCRIPTORS 4

static char *const variables[] = {"HOME=/work",  "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin",
                                  "TMPDIR=/tmp", "USER=agent",   NULL};

// The interpreter's process, before its exec.
_Noreturn static void become(const struct sandbox_plan *plan, int control) {
    char *arguments[] = {(char *)"python3", (char *)"-c", (char *)plan->interpreter, NULL};
    uint64_t no_signals = 0;
    enum sandbox_step step = SANDBOX_STEP_INTERPRETER;
    command_build_walls(plan);
    limits_set_widest();
    child_need(SANDBOX_STEP_SUPERVISOR, raw_setsid());
    child_need(step, raw_dup3(control, INTERPRETER_CONTROL, 0));
    for (int fd = 0; fd < INTERPRETER_CONTROL; fd++) {
        int null = (int)child_need(step, raw_openat(AT_FDCWD, "/dev/null", O_RDWR, 0));
        if (null != fd) child_need(step, raw_dup3(null, fd, 0));
        if (null >= INTERPRETER_CONTROL) raw_close(null);
    }
    child_need(step, raw_close_range(INTERPRETER_CONTROL + 1, ~0U));
    child_need(step, raw_sigprocmask(SIG_SETMASK, &no_signals));
    // Pid 1 waits for this: from here on our namespaces are our own.
    child_need(step, raw_write(INTERPRETER_CONTROL, "", 1));
    filter_install(plan, FILTER_WAITING);
    raw_execve(PROGRAM, arguments, variables);
    raw_exit(125);
}

void interpreter_start(const struct sandbox_plan *plan, struct interpreter *interpreter) {
    enum sandbox_step step = SANDBOX_STEP_INTERPRETER;
    int pair[2];
    int pidfd = -1;
    child_need(step, raw_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    struct clone_args arguments = {
        .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
    long process = raw_clone3(&arguments, sizeof arguments);
    if (process == 0) become(plan, pair[1]);
    child_need(step, process);
    raw_close(pair[1]);
    interpreter->process = (int)process;
    interpreter->pidfd = (int)child_need(step, raw_dup3(pidfd, CHILD_COMMAND, O_CLOEXEC));
    interpreter->control = (int)child_need(step, raw_dup3(pair[0], CHILD_INTERPRETER_CONTROL, O_CLOEXEC));
    raw_close(pidfd);
    raw_close(pair[0]);
    // One that fails has nobody to tell: without a request there is no report. The next request is served in
    // the plain way.
    char built;
    if (raw_read(interpreter->control, &built, 1) != 1) raw_exit(125);
}

// Until the request is there. An interpreter that ends before is of no use, and so are we.
void interpreter_await_request(const struct interpreter *interpreter) {
    struct pollfd polled[] = {{.fd = CHILD_REQUEST, .events = POLLIN},
                              {.fd = interpreter->pidfd, .events = POLLIN}};
    while (raw_poll(polled, 2, -1) == -EINTR) continue;
    if (polled[1].revents) raw_exit(125);
}

// Passes the program on: limits, then arguments, variables and working directory as they came, and the
// descriptors. `ruleset` is Landlock's, or -1 where the kernel has none.
void interpreter_go(const struct sandbox_plan *plan, const struct interpreter *interpreter, int ruleset) {
    const struct sandbox_request *limits = &plan->limits;
    const uint64_t numbers[] = {limits->arguments,    limits->variables,  ruleset >= 0,
                                limits->cpu_seconds,  limits->memory_bytes, limits->file_bytes,
                                limits->open_files,   limits->processes};
    char text[256];
    char *end = text;
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        end = text_append_number(end, numbers[i], 10);
        *end++ = 0;
    }
    const int descriptors[REQUEST_DESCRIPTORS] = {CHILD_INPUT, CHILD_OUTPUT, CHILD_ERROR, ruleset};
    unsigned long bytes = (ruleset >= 0 ? REQUEST_DESCRIPTORS : REQUEST_DESCRIPTORS - 1) * sizeof(int);
    const char *strings = plan->arguments[0];
    const char *strings_end = plan->working_directory + text_length(plan->working_directory) + 1;
    union {
        char bytes[CMSG_SPACE(sizeof descriptors)];
        struct cmsghdr align;
    } control;
    struct iovec pieces[] = {{text, (size_t)(end - text)}, {(void *)strings, (size_t)(strings_end - strings)}};
    struct msghdr header = {.msg_iov = pieces,
                            .msg_iovlen = 2,
                            .msg_control = control.bytes,
                            .msg_controllen = CMSG_SPACE(bytes)};
    text_clear(&control, sizeof control);
    struct cmsghdr *sent = CMSG_FIRSTHDR(&header);
    sent->cmsg_level = SOL_SOCKET;
    sent->cmsg_type = SCM_RIGHTS;
    sent->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(sent), descriptors, bytes);
    child_need(SANDBOX_STEP_INTERPRETER, raw_sendmsg(interpreter->control, &header, MSG_NOSIGNAL));
}
