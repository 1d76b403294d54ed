// The one way out of a sandbox that may use the network: a listener on its own loopback, which the worker's
// proxy serves from outside. Nothing of ours runs inside to be attacked, and nothing else can be connected to.
// A run with ports has loopback too; the way in is a socket that the spawner makes in its network.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "plan.h"
#include "raw.h"

#define WAITING_MAX 128

static void send_listener(int listener) {
    char nothing = 0;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {&nothing, 1};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    text_clear(&control, sizeof control);
    struct cmsghdr *sent = CMSG_FIRSTHDR(&header);
    sent->cmsg_level = SOL_SOCKET;
    sent->cmsg_type = SCM_RIGHTS;
    sent->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(sent), &listener, sizeof listener);
    child_need(SANDBOX_STEP_DOOR, raw_sendmsg(CHILD_DOOR, &header, MSG_NOSIGNAL));
}

// Needs CAP_NET_ADMIN for the interface.
void door_open(const struct sandbox_plan *plan) {
    enum sandbox_step step = SANDBOX_STEP_DOOR;
    if (!plan_uses_network(plan)) return;
    int listener = (int)child_need(step, raw_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct ifreq loopback = {.ifr_name = "lo"};
    loopback.ifr_flags = IFF_UP | IFF_RUNNING;
    child_need(step, raw_ioctl(listener, SIOCSIFFLAGS, &loopback));
    if (!plan->limits.has_door) {
        raw_close(listener);
        return;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(SANDBOX_DOOR_PORT),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    child_need(step, raw_bind(listener, &address, sizeof address));
    child_need(step, raw_listen(listener, WAITING_MAX));
    send_listener(listener);
    raw_close(listener);
    raw_close(CHILD_DOOR);
}
