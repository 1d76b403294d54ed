/// Attempts to change the walls or to gain rights.
extension Attack {
    static let escape: [Attack] = [
        Attack("write to the system", .bash, "t=/usr/penstock-attack; touch $t && rm $t && echo BREACH"),
        Attack("write to the root", .bash, "mkdir /penstock-attack && rmdir /penstock-attack && echo BREACH"),
        Attack(
            "write to /etc",
            .bash,
            "touch /etc/penstock-attack && rm /etc/penstock-attack && echo BREACH"
        ),
        Attack(
            "write to /dev",
            .bash,
            "touch /dev/penstock-attack && rm /dev/penstock-attack && echo BREACH"
        ),
        Attack("make a device", .bash, "mknod /tmp/attack-$$ c 1 3 && rm /tmp/attack-$$ && echo BREACH"),
        Attack(
            "mount a file system",
            .python,
            "d = '/tmp/m%d' % os.getpid(); os.mkdir(d)\nr = call(165, b'none', d.encode(), b'tmpfs', 0, 0)\nif r == 0: call(166, d.encode(), 2)\nos.rmdir(d); breach(r == 0)"
        ),
        Attack(
            "unmount a wall",
            .python,
            onlyInside: true,
            "breach(call(166, b'/tmp', 2) == 0 or call(166, b'/work', 2) == 0)"
        ),
        Attack(
            "use the new mount calls",
            .python,
            "breach(call(430, b'tmpfs', 0) >= 0 or call(428, -100, b'/', 1) >= 0)"
        ),
        Attack("make a user namespace", .python, "breach(call(272, 0x10000000) == 0)"),
        Attack("make a mount namespace", .python, "breach(call(272, 0x20000) == 0)"),
        Attack(
            "make a namespace by clone",
            .python,
            "p = call(56, 0x10000000 | 17, 0, 0, 0, 0)\nif p == 0: os._exit(0)\nbreach(p > 0)"
        ),
        Attack(
            "make a namespace by clone3",
            .python,
            "a = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0)\np = call(435, ctypes.addressof(a), 64)\nif p == 0: os._exit(0)\nbreach(p > 0)"
        ),
        Attack(
            "enter another namespace",
            .python,
            "f = os.open('/proc/self/ns/uts', 0)\nbreach(call(308, f, 0) == 0)"
        ),
        Attack("change the root", .python, "breach(call(161, b'/') == 0)"),
        Attack("become root", .python, "breach(call(117, 0, 0, 0) == 0 or os.getuid() == 0)"),
        Attack("change groups", .python, "breach(call(116, 0, 0) == 0)"),
        Attack(
            "use a set-uid program",
            .bash,
            "f=$(find /usr/bin /bin -perm -4000 | head -1); test -n \"$f\" && test $(stat -c %a $f | cut -c1) -ge 4 && (grep -q 'NoNewPrivs:.0' /proc/self/status && ! findmnt -no OPTIONS -T $f | grep -q nosuid) && echo BREACH"
        ),
        Attack(
            "hold any capability",
            .bash,
            "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | grep -qv 0000000000000000 && echo BREACH"
        ),
        Attack("run without a filter", .bash, "grep -q '^Seccomp:.0' /proc/self/status && echo BREACH"),
        Attack(
            "trace a child",
            .python,
            "p = os.fork()\nif p == 0: time.sleep(1); os._exit(0)\nr = call(101, 16, p, 0, 0)\nbreach(r == 0)\nos.kill(p, 9)"
        ),
        Attack(
            "read a child's memory by process_vm_readv",
            .python,
            "p = os.fork()\nif p == 0: time.sleep(1); os._exit(0)\nb = ctypes.create_string_buffer(8)\nv = (ctypes.c_uint64 * 2)(ctypes.addressof(b), 8)\nr = call(310, p, ctypes.addressof(v), 1, ctypes.addressof(v), 1, 0)\nos.kill(p, 9); breach(r == 8)"
        ),
        Attack(
            "load a BPF program",
            .python,
            onlyInside: true,
            "breach(call(321, 0, ctypes.addressof((ctypes.c_ubyte * 128)(*[2, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1])), 128) >= 0)"
        ),
        Attack("use userfaultfd", .python, "breach(call(323, 1) >= 0)"),
        Attack(
            "use perf events",
            .python,
            "a = (ctypes.c_uint32 * 32)(1, 128)\nbreach(call(298, ctypes.addressof(a), 0, -1, -1, 0) >= 0)"
        ),
        Attack("run a program from memory", .python, "f = call(319, b'x', 0)\nbreach(f >= 0)"),
        Attack(
            "run a program from /tmp",
            .bash,
            "cp /bin/true /tmp/t$$; /tmp/t$$ && echo BREACH; rm -f /tmp/t$$"
        ),
        Attack(
            "run a program from the workspace",
            .bash,
            "cp /bin/true ./t$$; ./t$$ && echo BREACH; rm -f ./t$$"
        ),
        Attack(
            "open a file by its handle",
            .python,
            "h = (ctypes.c_uint32 * 34)(128)\nm = ctypes.c_int()\nr = call(303, -100, b'/', ctypes.addressof(h), ctypes.addressof(m), 0)\nbreach(r == 0)"
        ),
        Attack(
            "type into a terminal",
            .python,
            "m, s = os.openpty() if os.path.exists('/dev/ptmx') else (0, 0)\nc = ctypes.c_char(b'x')\nr = call(16, s, 0x5412, ctypes.addressof(c))\nbreach(r == 0)"
        ),
        Attack(
            "have a controlling terminal or the worker's session",
            .bash,
            "test \"$(cut -d' ' -f6 /proc/self/stat)\" != 2 && echo BREACH"
        ),
        Attack("switch to 32-bit personality", .python, "breach(call(135, 8) >= 0)"),
        Attack(
            "call through the 32-bit entry",
            .python,
            onlyInside: true,
            "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\nf = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nbreach(f() > 0)"
        ),
        Attack(
            "change the clock",
            .python,
            "t = (ctypes.c_uint64 * 2)(int(time.time()), 0)\nbreach(call(227, 1, ctypes.addressof(t)) != -1 and False or call(227, 99, 0) == -22)"
        ),
        Attack(
            "change the host's name",
            .python,
            "n = os.uname().nodename.encode()\nbreach(call(170, n, len(n)) == 0)"
        ),
        Attack(
            "raise a limit",
            .python,
            "import resource\ns, h = resource.getrlimit(resource.RLIMIT_NOFILE)\ntry:\n    resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30)); breach()\nexcept (ValueError, OSError): pass"
        ),
        Attack("dump core", .bash, "test \"$(ulimit -Hc)\" != 0 && echo BREACH"),
        Attack("watch the whole file system", .python, "breach(call(300, 0, 0) >= 0)"),
        Attack(
            "lock memory",
            .python,
            "import resource\nbreach(call(149, ctypes.addressof(ctypes.create_string_buffer(4096)), 4096) == 0)"
        ),
        Attack(
            "kill pid 1",
            .bash,
            onlyInside: true,
            "kill -9 1; sleep 0.2; kill -0 1 2>/dev/null; kill -STOP 1 && echo still here"
        ),
    ]
}
