// What one process may use, and how much memory all of them do.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "plan.h"
#include "raw.h"

struct limit {
    uint64_t soft, hard;
};

static void set(int resource, uint64_t soft, uint64_t hard) {
    struct limit limit = {soft, hard};
    child_need(SANDBOX_STEP_LIMITS, raw_prlimit64(resource, &limit));
}

void limits_set(const struct sandbox_plan *plan, unsigned others) {
    const struct sandbox_request *limits = &plan->limits;
    // The soft limit sends SIGXCPU, the hard one, a second later, SIGKILL.
    set(RLIMIT_CPU, limits->cpu_seconds, limits->cpu_seconds + 1);
    // Writable private memory, not address space: interpreters reserve gigabytes they never touch.
    set(RLIMIT_DATA, limits->memory_bytes, limits->memory_bytes);
    set(RLIMIT_FSIZE, limits->file_bytes, limits->file_bytes);
    set(RLIMIT_NOFILE, limits->open_files, limits->open_files);
    set(RLIMIT_NPROC, limits->processes + others, limits->processes + others);
    limits_set_widest();
}

// What no request changes.
void limits_set_widest(void) {
    set(RLIMIT_STACK, 8 << 20, 8 << 20);
    set(RLIMIT_CORE, 0, 0);
    set(RLIMIT_MEMLOCK, 0, 0);
    set(RLIMIT_MSGQUEUE, 0, 0);
    set(RLIMIT_SIGPENDING, 256, 256);
    set(RLIMIT_LOCKS, 256, 256);
    set(RLIMIT_NICE, 0, 0);
    set(RLIMIT_RTPRIO, 0, 0);
    set(RLIMIT_RTTIME, 0, 0);
}

static uint64_t number(const char **text) {
    uint64_t value = 0;
    while (**text == ' ') ++*text;
    while (**text >= '0' && **text <= '9') value = value * 10 + (uint64_t)(*(*text)++ - '0');
    return value;
}

// Pages that a process alone has: resident minus those backed by files and shared memory.
static uint64_t process_memory(int proc, const char *name) {
    char path[64];
    char text[128];
    text_append(text_append(path, name), "/statm");
    int fd = (int)raw_openat(proc, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    long count = raw_read(fd, text, sizeof text - 1);
    raw_close(fd);
    if (count <= 0) return 0;
    text[count] = 0;
    const char *at = text;
    number(&at);
    uint64_t resident = number(&at);
    uint64_t shared = number(&at);
    return resident > shared ? (resident - shared) * 4096 : 0;
}

struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

// Sum over every process of the sandbox, and their number; `proc` is its own /proc.
uint64_t limits_anonymous_memory(int proc, uint64_t *processes) {
    static char entries[4096];
    uint64_t sum = 0;
    raw_lseek(proc, 0, 0);
    for (;;) {
        long count = raw_getdents64(proc, entries, sizeof entries);
        if (count <= 0) return sum;
        for (long at = 0; at < count;) {
            struct entry *entry = (struct entry *)(entries + at);
            if (entry->name[0] >= '1' && entry->name[0] <= '9' && text_length(entry->name) < 12) {
                sum += process_memory(proc, entry->name);
                ++*processes;
            }
            at += entry->length;
        }
    }
}

#define DEPTH_MAX 32
// What a command leaves free of the host's disk, whatever its own limit: unlinked files do not show in a
// walk.
#define RESERVE_BYTES (1ULL << 30)

struct usage {
    uint64_t bytes, entries;
};

// Adds what is in the folder and below, until more than allowed. What cannot be opened is left to the
// capture.
static int is_over(const struct sandbox_request *limits, int folder, int depth, struct usage *usage) {
    char entries[2048] __attribute__((aligned(8)));
    struct stat found;
    if (depth > DEPTH_MAX) return 1;
    for (;;) {
        long count = raw_getdents64(folder, entries, sizeof entries);
        if (count <= 0) return 0;
        for (long at = 0; at < count;) {
            struct entry *entry = (struct entry *)(entries + at);
            const char *name = entry->name;
            at += entry->length;
            if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
            if (raw_fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) < 0) continue;
            usage->bytes += (uint64_t)found.st_blocks * 512;
            usage->entries++;
            if (usage->bytes > limits->workspace_bytes || usage->entries > limits->workspace_entries)
                return 1;
            if (!S_ISDIR(found.st_mode)) continue;
            int below = (int)raw_openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
            if (below < 0) continue;
            int over = is_over(limits, below, depth + 1, usage);
            raw_close(below);
            if (over) return 1;
        }
    }
}

// Whether a workspace of the host's holds more than it may, or its disk is almost full because of it.
int limits_workspace_is_full(const struct sandbox_plan *plan) {
    static uint64_t free_at_first;
    struct usage usage = {0, 0};
    struct statfs disk;
    int folder = (int)raw_openat(AT_FDCWD, "/work", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0) return 0;
    int over = is_over(&plan->limits, folder, 0, &usage);
    if (raw_fstatfs(folder, &disk) == 0) {
        uint64_t free = disk.f_bavail * (uint64_t)disk.f_bsize;
        if (!free_at_first) free_at_first = free;
        over |= free < RESERVE_BYTES && free + plan->limits.workspace_bytes < free_at_first;
    }
    raw_close(folder);
    return over;
}
