// Sandboxes made ahead of their requests, each used once, and the control groups that they wait in.
//
// To enter a group may take a process 17 ms, so one that waits has done it. The worker lends groups for that;
// it is told which have a sandbox in them, sets one's limits, and names it in the request.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plan.h"

// A sandbox that waits for its one request.
struct member {
    int request;
    int pidfd;
    struct pool_group group;
};

static struct pool {
    struct member members[SANDBOX_POOL_MAX];
    struct pool_group lent[SANDBOX_POOL_MAX];
    int count;
    int lent_count;
    int size;
    int has_groups;
    const char *interpreter;
} pools[SANDBOX_POOL_COUNT];

void pool_set_up(enum sandbox_pool kind, uint32_t size, uint32_t has_groups, const char *interpreter) {
    pools[kind].size = size < SANDBOX_POOL_MAX ? (int)size : SANDBOX_POOL_MAX;
    pools[kind].has_groups = has_groups != 0;
    pools[kind].interpreter = interpreter;
}

static int wants_more(const struct pool *pool) {
    return pool->count < pool->size && (!pool->has_groups || pool->lent_count > 0);
}

static struct pool *short_of(void) {
    for (int kind = 0; kind < SANDBOX_POOL_COUNT; kind++) {
        if (wants_more(&pools[kind])) return &pools[kind];
    }
    return NULL;
}

int pool_wants_more(void) {
    return short_of() != NULL;
}

int pool_is_waiting(void) {
    return pools[SANDBOX_POOL_PLAIN].count + pools[SANDBOX_POOL_INTERPRETER].count > 0;
}

static void remove_at(void *items, int *count, size_t size, int index) {
    char *at = (char *)items + (size_t)index * size;
    memmove(at, at + size, (size_t)(--*count - index) * size);
}

static void keep(struct pool *pool, const struct pool_group *group) {
    if (pool->lent_count < SANDBOX_POOL_MAX) {
        pool->lent[pool->lent_count++] = *group;
        return;
    }
    for (int i = 0; i < group->count; i++) close(group->entrances[i]);
}

void pool_lend(const struct sandbox_group *lent, const int *descriptors, int count) {
    struct pool_group group = {.id = lent->id, .count = 0};
    if (lent->pool >= SANDBOX_POOL_COUNT || count > SANDBOX_CGROUPS_MAX) return;
    for (int i = 0; i < count; i++) {
        // The message's own are closed after it.
        int entrance = fcntl(descriptors[i], F_DUPFD_CLOEXEC, 0);
        if (entrance >= 0) group.entrances[group.count++] = entrance;
    }
    keep(&pools[lent->pool], &group);
}

void pool_fill(struct sandbox_plan *plan) {
    struct pool *pool = short_of();
    int pair[2];
    enum sandbox_step step;
    if (!pool) return;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        pool->size = 0;
        return;
    }
    int bytes = 4 * SANDBOX_MESSAGE_BYTES_MAX;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    struct member *member = &pool->members[pool->count];
    memset(member, 0, sizeof *member);
    if (pool->has_groups) member->group = pool->lent[0];
    for (int i = 0; i < SANDBOX_CGROUPS_MAX; i++) {
        plan->descriptors[CHILD_CGROUPS + i] = i < member->group.count ? member->group.entrances[i] : -1;
    }
    plan->interpreter = pool->interpreter;
    member->request = pair[0];
    member->pidfd = spawner_spawn(pair[1], &step);
    plan->interpreter = NULL;
    close(pair[1]);
    if (member->pidfd < 0) {
        close(pair[0]);
        pool->size = 0;
        return;
    }
    pool->count++;
    if (!pool->has_groups) return;
    remove_at(pool->lent, &pool->lent_count, sizeof *pool->lent, 0);
    spawner_reply(member->group.id, 0, SANDBOX_STEP_NONE, -1);
}

static struct member take(struct pool *pool, int index) {
    struct member member = pool->members[index];
    remove_at(pool->members, &pool->count, sizeof member, index);
    return member;
}

struct packet {
    const void *bytes;
    size_t count;
    const int *descriptors;
    int descriptor_count;
};

// Its pidfd, or 0 when it has ended while it waited.
static int send_to(const struct member *member, const struct packet *packet) {
    long sent = sandbox_send(member->request, packet->bytes, packet->count, packet->descriptors,
                             packet->descriptor_count);
    close(member->request);
    if (sent == (long)packet->count) return member->pidfd;
    close(member->pidfd);
    return 0;
}

// To the one that waits in the group; else the group is found among those lent.
static int send_to_group(uint64_t id, const struct packet *packet, struct pool_group *group) {
    for (int kind = 0; kind < SANDBOX_POOL_COUNT; kind++) {
        struct pool *pool = &pools[kind];
        for (int i = 0; i < pool->count; i++) {
            if (pool->members[i].group.id != id) continue;
            struct member member = take(pool, i);
            *group = member.group;
            return send_to(&member, packet);
        }
        for (int i = 0; i < pool->lent_count; i++) {
            if (pool->lent[i].id != id) continue;
            *group = pool->lent[i];
            remove_at(pool->lent, &pool->lent_count, sizeof *group, i);
            return 0;
        }
    }
    return -ESTALE;
}

// The one that has waited longest: an interpreter takes a while to load its libraries.
static int send_to_pool(struct pool *pool, const struct packet *packet) {
    int pidfd = 0;
    while (pidfd == 0 && !pool->has_groups && pool->count > 0) {
        struct member member = take(pool, 0);
        pidfd = send_to(&member, packet);
    }
    return pidfd;
}

int pool_send(const struct sandbox_request *request, const void *bytes, size_t count, const int *descriptors,
              int descriptor_count, struct pool_group *group) {
    const struct packet packet = {bytes, count, descriptors, descriptor_count};
    memset(group, 0, sizeof *group);
    if (request->group) return send_to_group(request->group, &packet, group);
    if (request->has_door || request->ports[0]) return 0;
    int pidfd = 0;
    if (request->is_for_interpreter && !request->has_secrets)
        pidfd = send_to_pool(&pools[SANDBOX_POOL_INTERPRETER], &packet);
    return pidfd ? pidfd : send_to_pool(&pools[SANDBOX_POOL_PLAIN], &packet);
}

void pool_empty(void) {
    for (int kind = 0; kind < SANDBOX_POOL_COUNT; kind++) {
        struct pool *pool = &pools[kind];
        while (pool->count > 0) {
            struct member member = take(pool, 0);
            // It ends by itself when its socket does.
            close(member.request);
            close(member.pidfd);
            if (!pool->has_groups) continue;
            keep(pool, &member.group);
            spawner_reply(member.group.id, EAGAIN, SANDBOX_STEP_NONE, -1);
        }
    }
}
