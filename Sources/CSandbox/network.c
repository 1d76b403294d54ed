// The networks of sandboxes, as the spawner keeps and makes them. One thread: it may go into one and come back.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plan.h"

#define NETWORKS_KEPT 128

// Network namespaces that sandboxes left as they found them: nobody inside can change one.
static int networks[NETWORKS_KEPT];
static int network_count;
// Where we are ourselves, once we have made networks for others; with nothing in it.
static int own_network = -1;

// The next sandbox's network namespace: a used one, or -1 for a new one.
int network_take(void) {
    return network_count > 0 ? networks[--network_count] : -1;
}

// One that may be used again.
void network_keep(int network) {
    if (network_count < NETWORKS_KEPT) {
        networks[network_count++] = network;
    } else {
        close(network);
    }
}

int network_of(long process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/ns/net", process);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int this_network(void) {
    return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

// Nothing may go on in another's network.
static void return_home(void) {
    if (setns(own_network, CLONE_NEWNET) != 0) _exit(1);
}

// A new network namespace, or -errno. An ordinary user could not come back to the host's, so we leave that for
// one of our own first.
int network_make(void) {
    if (own_network < 0) {
        if (unshare(CLONE_NEWNET) != 0) return -errno;
        own_network = this_network();
        if (own_network < 0) return -errno;
    }
    if (unshare(CLONE_NEWNET) != 0) return -errno;
    int network = this_network();
    int error = errno;
    return_home();
    return network < 0 ? -error : network;
}

// A TCP socket in a network that we made, where it stays, whoever holds it; or -errno.
int network_socket(int network) {
    if (setns(network, CLONE_NEWNET) != 0) return -errno;
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = errno;
    return_home();
    return made < 0 ? -error : made;
}
