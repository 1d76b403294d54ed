// What the worker asks: one packet with its descriptors, read by the spawner, or by a sandbox that waits for
// it.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "plan.h"
#include "raw.h"

// One packet and the descriptors that came along; bytes, 0 at the end, or -errno. A packet cut short is no
// packet.
long request_receive(int socket, char *message, int *descriptors, int *descriptor_count) {
    union {
        char bytes[CMSG_SPACE(SANDBOX_FD_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {message, SANDBOX_MESSAGE_BYTES_MAX};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    long count = raw_recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    *descriptor_count = 0;
    if (count <= 0) return count;
    struct cmsghdr *sent = CMSG_FIRSTHDR(&header);
    if (sent && sent->cmsg_level == SOL_SOCKET && sent->cmsg_type == SCM_RIGHTS) {
        *descriptor_count = (int)((sent->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(descriptors, CMSG_DATA(sent), (size_t)*descriptor_count * sizeof(int));
    }
    return header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? 1 : count;
}

// The next string of the message, or NULL when it ends first.
static char *next_string(char **at, char *end) {
    char *text = *at;
    char *zero = text < end ? memchr(text, 0, (size_t)(end - text)) : NULL;
    if (!zero) return NULL;
    *at = zero + 1;
    return text;
}

static int read_strings(char **at, char *end, char **strings, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        strings[i] = next_string(at, end);
        if (!strings[i]) return EINVAL;
    }
    return 0;
}

// 0, or EINVAL. The plan's strings stay in the message.
int request_read(struct sandbox_plan *plan, char *message, size_t count) {
    struct sandbox_request *request = &plan->limits;
    if (count < sizeof *request) return EINVAL;
    memcpy(request, message, sizeof *request);
    if (request->candidates > sizeof plan->candidates / sizeof *plan->candidates ||
        request->arguments > SANDBOX_STRINGS_MAX || request->variables > SANDBOX_STRINGS_MAX ||
        request->mounts > SANDBOX_MOUNTS_MAX || request->arguments == 0) {
        return EINVAL;
    }
    char *at = message + sizeof *request;
    char *end = message + count;
    if (read_strings(&at, end, plan->candidates, request->candidates) ||
        read_strings(&at, end, plan->arguments, request->arguments) ||
        read_strings(&at, end, plan->variables, request->variables)) {
        return EINVAL;
    }
    plan->arguments[request->arguments] = NULL;
    plan->variables[request->variables] = NULL;
    plan->working_directory = next_string(&at, end);
    plan->workspace = next_string(&at, end);
    for (uint32_t i = 0; i < request->mounts; i++) {
        plan->mounts[i].host = next_string(&at, end);
        plan->mounts[i].inside = next_string(&at, end);
    }
    // Each string follows the one before, so the last is missing if any is.
    int is_missing = request->mounts ? !plan->mounts[request->mounts - 1].inside : !plan->workspace;
    return is_missing ? EINVAL : 0;
}

void request_descriptors(struct sandbox_plan *plan, const int *descriptors, int count) {
    plan->descriptors[CHILD_INPUT] = descriptors[SANDBOX_FD_INPUT];
    plan->descriptors[CHILD_OUTPUT] = descriptors[SANDBOX_FD_OUTPUT];
    plan->descriptors[CHILD_ERROR] = descriptors[SANDBOX_FD_ERROR];
    plan->descriptors[CHILD_REPORT] = descriptors[SANDBOX_FD_REPORT];
    int next = SANDBOX_FD_COUNT;
    plan->descriptors[CHILD_DOOR] = plan->limits.has_door && next < count ? descriptors[next++] : -1;
    plan->descriptors[CHILD_SECRETS] = plan->limits.has_secrets && next < count ? descriptors[next++] : -1;
    plan->descriptors[CHILD_CERTIFICATES] =
        plan->limits.has_certificates && next < count ? descriptors[next++] : -1;
    for (int i = CHILD_CGROUPS; i < CHILD_ALIVE; i++) {
        plan->descriptors[i] = next < count ? descriptors[next++] : -1;
    }
}
