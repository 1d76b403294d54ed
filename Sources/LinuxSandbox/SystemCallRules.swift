/// Which system calls a skill may make, and how the others fail. What no list names fails as if the kernel
/// did not have it (ENOSYS), so libraries fall back and calls of future kernels are off.
enum SystemCallRules {
    /// Allowed whatever their arguments: what shells, coreutils, python, node, git, curl and jq were seen to
    /// use, and what their neighbours plainly need.
    static let allowed = words(
        """
        accept accept4 access alarm bind brk capget chdir chmod chown clock_getres clock_gettime
        clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
        epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd2 execve exit exit_group
        faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchown fchownat fcntl fdatasync
        fgetxattr flistxattr flock fork fstat fstatfs fsync ftruncate futex getcwd getdents64 getegid
        geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority
        getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid
        gettimeofday getuid getxattr inotify_add_watch inotify_init1 inotify_rm_watch kill lchown
        lgetxattr link linkat listen listxattr llistxattr lseek lstat madvise membarrier mkdir mkdirat
        mmap mprotect mremap msync munmap nanosleep newfstatat open openat pause pidfd_open
        pidfd_send_signal pipe pipe2 poll ppoll pread64 preadv prlimit64 pselect6 pwrite64 pwritev read
        readlink readlinkat readv recvfrom recvmsg rename renameat renameat2 restart_syscall rmdir rseq
        rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait
        sched_getaffinity sched_getparam sched_getscheduler sched_yield select sendfile sendmmsg
        sendmsg sendto set_robust_list set_tid_address setitimer setpgid setpriority setsid
        shutdown sigaltstack stat statfs statx symlink symlinkat sysinfo tgkill time
        timer_create timer_delete timer_settime timerfd_create timerfd_settime times truncate umask
        uname unlink unlinkat utime utimensat utimes vfork wait4 waitid write writev
        """
    )

    /// Allowed when an argument is one of these.
    static let allowedArguments: [(call: String, argument: UInt32, values: [UInt64])] = [
        // Local sockets; the filter says which others.
        ("socket", 0, [1]),
        ("socketpair", 0, [1]),
        // Terminal attributes, window size, process group, and bytes waiting; not TIOCSTI, not TIOCLINUX.
        (
            "ioctl", 1,
            [
                0x5401, 0x5402, 0x5403, 0x5404, 0x540B, 0x540F, 0x5410, 0x5413, 0x5414, 0x541B, 0x5421,
                0x5450,
                0x5451, 0x5452, 0x802C_542A,
            ]
        ),
        // Names, death signals, timer slack, subreaper, no_new_privs, huge pages, names of mappings; and
        // questions.
        ("prctl", 0, [1, 2, 3, 15, 16, 21, 23, 27, 29, 30, 36, 37, 38, 39, 41, 42, 0x5356_4D41]),
        // Thread-local storage: ARCH_SET_FS, ARCH_GET_FS.
        ("arch_prctl", 0, [0x1002, 0x1003]),
        // The question for the present personality.
        ("personality", 0, [0xFFFF_FFFF]),
    ]

    /// Allowed when the argument, masked, is the value.
    static let allowedMasked: [(call: String, argument: UInt32, mask: UInt64, value: UInt64)] = [
        // No namespace, no tracing, no parent's parent. clone3 hides its flags in memory: not there.
        ("clone", 0, 0x7E82_A000, 0),
        // Only pipes with a name.
        ("mknod", 1, 0o170000, 0o010000),
        ("mknodat", 2, 0o170000, 0o010000),
    ]

    /// With the door or ports: the levels and options of sockets; all of the socket's own level.
    static let socketOptions: [(level: UInt64, options: [UInt64])] = [
        (1, []),
        // IP_TOS.
        (0, [1]),
        // IPV6_V6ONLY.
        (41, [26]),
        // No delay, cork, keep-alive times, defer accept, quick acknowledgement, user time-out. Not TCP_ULP.
        (6, [1, 3, 4, 5, 6, 9, 12, 18]),
    ]

    /// Fail with EPERM: what honest programs try and can do without.
    static let refused = words(
        """
        acct add_key adjtimex capset chroot clock_adjtime clock_settime fanotify_init ioperm iopl ioprio_get
        ioprio_set keyctl lookup_dcookie mlock mlock2 mlockall mount munlock munlockall name_to_handle_at
        perf_event_open ptrace quotactl reboot request_key sched_setaffinity sched_setattr sched_setparam
        sched_setscheduler setdomainname setfsgid setfsuid setgid setgroups sethostname setns
        setregid setresgid
        setresuid setreuid settimeofday setuid swapoff swapon syslog umount2 unshare vhangup
        """
    )

    /// Fail with EOPNOTSUPP, which cp and tar take for a file system without extended attributes.
    static let unsupported = words("fremovexattr fsetxattr lremovexattr lsetxattr removexattr setxattr")

    /// End the process: no script ever needs these, so who calls them is attacking.
    static let fatal = words(
        """
        bpf delete_module finit_module init_module kexec_file_load kexec_load modify_ldt open_by_handle_at
        pivot_root userfaultfd uselib vmsplice
        """
    )

    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map(String.init)
    }
}
