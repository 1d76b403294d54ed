/// Attempts to read or reach what belongs to the host.
extension Attack {
    static let reach: [Attack] = [
        Attack("read a file of the host", .bash, "grep -q bait \"$BAIT_FILE\" && echo BREACH"),
        Attack(
            "read /etc/shadow",
            .bash,
            "test -s /etc/shadow && head -c1 /etc/shadow >/dev/null && echo BREACH"
        ),
        Attack("list the host's /etc", .bash, "ls /etc/init.d /etc/cron.d >/dev/null 2>&1 && echo BREACH"),
        Attack("list /root and /home", .bash, "ls /root >/dev/null && echo BREACH"),
        Attack("list /var and /run", .bash, "ls /var/lib >/dev/null && echo BREACH"),
        Attack("see /sys", .bash, "test -d /sys/kernel && echo BREACH"),
        Attack("see kernel settings", .bash, "cat /proc/sys/kernel/hostname >/dev/null && echo BREACH"),
        Attack("read kernel symbols", .bash, "head -c1 /proc/kallsyms >/dev/null && echo BREACH"),
        Attack("read the kernel's command line", .bash, "cat /proc/cmdline >/dev/null && echo BREACH"),
        Attack(
            "read the worker's environment",
            .bash,
            "cat /proc/$BAIT_PID/environ >/dev/null && echo BREACH"
        ),
        Attack(
            "read any other process's environment",
            .bash,
            "for p in /proc/[0-9]*; do case $p in /proc/$$) ;; *) s=$(tr '\\0' '\\n' <$p/environ 2>/dev/null) "
                + "&& test -n \"$s\" && echo \"$s\" | grep -q '^BAIT_\\|^HOME=/root' && case $s in "
                + "*BAIT_FD*) ;; *) echo BREACH;; esac;; esac; done; test $(ls -d /proc/[0-9]* | wc -l) -gt 20 "
                + "&& echo BREACH"
        ),
        Attack(
            "read pid 1's memory map",
            .bash,
            onlyInside: true,
            "cat /proc/1/maps | grep -q . && echo BREACH"
        ),
        Attack(
            "read pid 1's environment",
            .bash,
            onlyInside: true,
            "cat /proc/1/environ | grep -q . && echo BREACH"
        ),
        Attack(
            "follow the worker's root",
            .bash,
            "grep -q bait /proc/$BAIT_PID/root$BAIT_FILE && echo BREACH"
        ),
        Attack("signal the worker", .bash, "kill -0 $BAIT_PID 2>/dev/null && echo BREACH"),
        Attack(
            "read a descriptor the worker leaked",
            .bash,
            "test \"$(readlink /proc/self/fd/$BAIT_FD)\" = \"$BAIT_FILE\" && grep -q bait <&$BAIT_FD && echo BREACH"
        ),
        Attack(
            "connect to the host's loopback",
            .bash,
            "exec 3<>/dev/tcp/127.0.0.1/$BAIT_PORT && echo BREACH"
        ),
        Attack(
            "open an internet socket",
            .python,
            "for family, kind in [(2, 1), (2, 2), (10, 1), (10, 2)]:\n"
                + "    if call(41, family, kind, 0) >= 0: breach()"
        ),
        Attack(
            "open a packet or raw socket",
            .python,
            "breach(call(41, 17, 3, 768) >= 0 or call(41, 2, 3, 1) >= 0)"
        ),
        Attack("open a netlink socket", .python, "breach(call(41, 16, 3, 0) >= 0)"),
        Attack("open a crypto socket (AF_ALG)", .python, onlyInside: true, "breach(call(41, 38, 5, 0) >= 0)"),
        Attack("open a VM socket", .python, onlyInside: true, "breach(call(41, 40, 1, 0) >= 0)"),
        Attack(
            "open a socket by its high bits",
            .python,
            onlyInside: true,
            "breach(call(41, 0x100000002, 1, 0) >= 0)"
        ),
        Attack(
            "connect to an abstract socket of the host",
            .python,
            "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + os.environ['BAIT_ABSTRACT'])\nbreach()"
        ),
        Attack(
            "open a socket through io_uring",
            .python,
            "breach(call(425, 8, ctypes.addressof((ctypes.c_char * 120)())) >= 0)"
        ),
        Attack(
            "see the host's name",
            .bash,
            "test \"$(uname -n)\" != sandbox && echo BREACH"
        ),
        Attack("see a System V queue", .python, "breach(call(68, 0, 0o1600) >= 0)"),
        Attack("open a message queue", .python, "breach(call(240, b'bait', 0o102, 0o600, 0) >= 0)"),
        Attack("read the worker's keyring", .python, "breach(call(250, 6, -3, 0, 0) >= 0)"),
        Attack(
            "see an interface that is up",
            .bash,
            "grep -q . /sys/class/net/lo/operstate 2>/dev/null && echo BREACH"
        ),
        Attack(
            "see the host's uptime",
            .python,
            "breach(time.clock_gettime(time.CLOCK_BOOTTIME) > 3600 or os.path.exists('/proc/uptime'))"
        ),
    ]
}
