// The sandbox's spawner: a small process that builds each sandbox, so that neither the size of the worker's
// memory nor its threads matter, and nothing of it (environment, descriptors, memory) is ever near a skill.
//
// The worker starts one spawner, sends it a filter and then requests over a SOCK_SEQPACKET pair, and gets one
// reply for each, with a pidfd of the sandbox's pid 1. When that pidfd becomes readable, every process of the
// sandbox is gone. When either side of the pair closes, the spawner and every sandbox die.
#pragma once
#include <stddef.h>
#include <stdint.h>

// argv[0] that turns this program into a spawner before its own main runs.
#define SANDBOX_SPAWNER_NAME "penstock-sandbox"

// Largest request, arguments and environment included; a sequenced packet cannot be much larger.
#define SANDBOX_MESSAGE_BYTES_MAX (160 * 1024)
#define SANDBOX_STRINGS_MAX 4096
#define SANDBOX_MOUNTS_MAX 64
#define SANDBOX_FILTER_BYTES_MAX (32 * 1024)
#define SANDBOX_POOL_MAX 64
// Version 1 has one hierarchy for memory, one for processes, one for processors.
#define SANDBOX_CGROUPS_MAX 3
#define SANDBOX_INTERPRETER_BYTES_MAX (16 * 1024)
// Where a sandbox with a door finds the worker's proxy, on its own loopback.
#define SANDBOX_DOOR_PORT 3128
// The authorities that programs in a sandbox trust, where the run has its own.
#define SANDBOX_CERTIFICATES_FOLDER "/etc/ssl/penstock"
#define SANDBOX_CERTIFICATES_FILE "/etc/ssl/penstock/certificates.pem"
#define SANDBOX_CERTIFICATES_BYTES_MAX (4096 * 1024)
// Of one run, for the worker to connect to.
#define SANDBOX_PORTS_MAX 16

// What was being done when a sandbox could not be built; the worker has words and a cure for each.
enum sandbox_step {
    SANDBOX_STEP_NONE = 0,
    SANDBOX_STEP_REQUEST,
    SANDBOX_STEP_CLONE,
    SANDBOX_STEP_DESCRIPTORS,
    SANDBOX_STEP_CGROUP_JOIN,
    SANDBOX_STEP_CGROUP_NAMESPACE,
    SANDBOX_STEP_TIME_NAMESPACE,
    SANDBOX_STEP_NETWORK,
    SANDBOX_STEP_DOOR,
    SANDBOX_STEP_INTERPRETER,
    SANDBOX_STEP_TEMPLATE,
    SANDBOX_STEP_USER_MAP,
    SANDBOX_STEP_USER_NAMESPACE,
    SANDBOX_STEP_IDENTITY,
    SANDBOX_STEP_NESTED_NAMESPACES,
    SANDBOX_STEP_WORKSPACE,
    SANDBOX_STEP_WORKSPACE_IDMAP,
    SANDBOX_STEP_MOUNT_SOURCE,
    SANDBOX_STEP_MOUNT_TARGET,
    SANDBOX_STEP_SYSTEM,
    SANDBOX_STEP_ROOT,
    SANDBOX_STEP_DEVICES,
    SANDBOX_STEP_PROC,
    SANDBOX_STEP_PIVOT,
    SANDBOX_STEP_HOSTNAME,
    SANDBOX_STEP_KEYRING,
    SANDBOX_STEP_LIMITS,
    SANDBOX_STEP_LANDLOCK,
    SANDBOX_STEP_NO_NEW_PRIVILEGES,
    SANDBOX_STEP_CAPABILITIES,
    SANDBOX_STEP_SUPERVISOR,
    SANDBOX_STEP_STANDARD_STREAMS,
    SANDBOX_STEP_WORKING_DIRECTORY,
    SANDBOX_STEP_SECCOMP,
    SANDBOX_STEP_EXEC,
    SANDBOX_STEP_COUNT
};

enum sandbox_message { SANDBOX_HELLO = 1, SANDBOX_RUN = 2, SANDBOX_SOCKET = 3, SANDBOX_GROUP = 4 };

// Sandboxes made ahead: plain ones, and ones in which an interpreter waits.
enum sandbox_pool { SANDBOX_POOL_PLAIN, SANDBOX_POOL_INTERPRETER, SANDBOX_POOL_COUNT };

// First packet to the spawner; `filter_bytes` bytes of BPF follow, then `network_filter_bytes` of the filter
// for runs with a door to the network, `waiting_filter_bytes` of the one for interpreters that wait,
// `ports_filter_bytes` of the one for runs with ports, and
// `interpreter_bytes` of what these run, ended by a NUL byte. `interpreter_pool_size` of them wait beside the
// pool of plain sandboxes. `pool_size` sandboxes are made ahead of
// their requests, while there are any, and given up after `pool_idle_seconds` without. `is_lenient` lets it
// do without Landlock and without a time namespace where the kernel has none; otherwise their absence is a
// failed step.
struct sandbox_hello {
    uint32_t message;
    uint32_t filter_bytes;
    uint32_t network_filter_bytes;
    uint32_t waiting_filter_bytes;
    uint32_t interpreter_bytes;
    uint32_t interpreter_pool_size;
    uint32_t is_lenient;
    uint32_t pool_size;
    uint32_t pool_idle_seconds;
    uint32_t ports_filter_bytes;
    // Sandboxes are made ahead only in groups that the worker lent.
    uint32_t has_groups;
};

// Lends a control group for a sandbox made ahead, with one to three cgroup.procs files to enter. A reply with
// its id tells when a sandbox waits in it (error 0), and when that was given up (EAGAIN) though the group is
// still lent. It is the worker's again when a request named it.
struct sandbox_group {
    uint32_t message;
    uint32_t pool; // enum sandbox_pool
    uint64_t id;
};

// The descriptors sent along with a request, in this order; then, where the request has them, the door's
// socket, the secrets' pipe and the file with certificates; then none to three cgroup.procs files to enter.
enum sandbox_descriptor {
    SANDBOX_FD_INPUT,
    SANDBOX_FD_OUTPUT,
    SANDBOX_FD_ERROR,
    SANDBOX_FD_REPORT,
    SANDBOX_FD_COUNT,
    SANDBOX_FD_MAX = SANDBOX_FD_COUNT + 3 + SANDBOX_CGROUPS_MAX
};

// A command; then, each ended by a NUL byte: `candidates` paths to try, `arguments`, `variables`, the working
// directory, the workspace ("" for one in memory), and for each of `mounts` its folder here and its path
// inside.
struct sandbox_request {
    uint32_t message;
    uint32_t candidates;
    uint32_t arguments;
    uint32_t variables;
    uint32_t mounts;
    // Loopback is up, with one listener on SANDBOX_DOOR_PORT; the listener goes to the worker over the door's
    // socket, before the command starts.
    uint8_t has_door;
    // What the file holds is at SANDBOX_CERTIFICATES_FILE inside.
    uint8_t has_certificates;
    // The command finds the secrets' pipe as its descriptor 3.
    uint8_t has_secrets;
    // An interpreter made ahead may take it: the arguments are python3's.
    uint8_t is_for_interpreter;
    uint64_t id;
    // A lent group to run in, with the sandbox that waits there, if any; 0: the groups to enter come along.
    uint64_t group;
    uint64_t cpu_seconds;
    uint64_t memory_bytes;
    uint64_t processes;
    uint64_t open_files;
    uint64_t file_bytes;
    uint64_t temporary_bytes;
    uint64_t workspace_bytes;
    uint64_t workspace_entries;
    uint64_t workspace_device;
    uint64_t workspace_inode;
    // Loopback is up, and these may be listened on; 0 where there are fewer.
    uint16_t ports[SANDBOX_PORTS_MAX];
};

// Asks for a TCP socket in the network of the run, which has ports; not connected, non-blocking.
struct sandbox_socket {
    uint32_t message;
    uint32_t reserved;
    uint64_t id; // of the answer
    uint64_t run;
};

// Answer to a hello (id 0), to each request, with a pidfd when error is 0, and to each that asks for a socket,
// with that.
struct sandbox_reply {
    uint64_t id;
    int32_t error;
    uint32_t step;
};

enum sandbox_report_kind { SANDBOX_REPORT_FAILED = 1, SANDBOX_REPORT_STARTED, SANDBOX_REPORT_ENDED };
enum sandbox_ended_by { SANDBOX_ENDED_ITSELF = 0, SANDBOX_ENDED_MEMORY = 1, SANDBOX_ENDED_WORKSPACE = 2 };

// What the sandbox's own processes write to the report pipe; each is one write, smaller than PIPE_BUF.
struct sandbox_report {
    uint32_t kind;
    uint32_t step; // FAILED: enum sandbox_step. ENDED: enum sandbox_ended_by.
    int32_t value; // FAILED: errno. ENDED: wait status of the command.
    // ENDED: as many processes as are allowed were seen at a time.
    uint32_t has_met_processes;
    uint64_t cpu_microseconds;
    uint64_t memory_bytes;
};

// Starts a spawner from this program's own file, with an empty environment; 0, or errno.
// The control socket is close-on-exec and non-blocking. `user`, unless 0, is who a spawner started by root
// becomes for good.
int sandbox_spawner_start(const char *executable, uint32_t user, int *control, int *process);

// Sends one packet with descriptors; bytes sent, or -errno.
long sandbox_send(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count);

// Receives one packet and at most one descriptor (-1 when none came); bytes, 0 at the end, or -errno.
long sandbox_receive(int socket, void *bytes, size_t count, int *descriptor);

// Version of Landlock's interface in this kernel; 0 when there is none.
int sandbox_landlock_version(void);

// The kernel's CLONE_NEW… flags.
enum sandbox_namespace {
    SANDBOX_NAMESPACE_MOUNT = 0x00020000,
    SANDBOX_NAMESPACE_CGROUP = 0x02000000,
    SANDBOX_NAMESPACE_UTS = 0x04000000,
    SANDBOX_NAMESPACE_IPC = 0x08000000,
    SANDBOX_NAMESPACE_USER = 0x10000000,
    SANDBOX_NAMESPACE_PID = 0x20000000,
    SANDBOX_NAMESPACE_NETWORK = 0x40000000,
};

// Whether a process can be born in these namespaces; 0 or errno.
int sandbox_probe_namespaces(uint32_t namespaces);

// Whether a process can leave for a time namespace of its own; 0 or errno.
int sandbox_probe_time(void);

// Whether the kernel has the calls to clone a mount and change it before it is attached; 0 or errno.
int sandbox_probe_mounts(void);

// Whether the kernel can kill a process for a system call; 0 or errno.
int sandbox_probe_seccomp(void);

// vfork, exec and wait, the least a command can cost: the floor of benchmarks. Exit status, or -errno.
int sandbox_exec_and_wait(char *const *arguments);

// The same until the first byte of its output, which `nanoseconds` tells from the call on; waits for its end.
int sandbox_exec_to_first_byte(char *const *arguments, uint64_t *nanoseconds);

// The kernel's pidfd_send_signal; 0 or -errno.
int sandbox_signal(int pidfd, int signal);
