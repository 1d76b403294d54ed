/// Attempts to use up what others need. Outside, each stops at an amount that the sandbox would not give.
extension Attack {
    static let exhaust: [Attack] = [
        Attack(
            "fork 400 processes",
            .python,
            "made = []\ntry:\n    for i in range(400):\n        p = os.fork()\n        if p == 0:\n            signal.pause()\n"
                + "        made.append(p)\n    breach()\nexcept OSError: pass\nfor p in made: os.kill(p, 9)"
        ),
        Attack(
            "start 400 threads",
            .python,
            "import threading\nthreading.stack_size(65536)\ne = threading.Event()\ntry:\n    for i in range(400): "
                + "threading.Thread(target=e.wait, daemon=True).start()\n    breach()\nexcept RuntimeError: pass\ne.set()"
        ),
        Attack(
            "take 700 MiB in one process",
            .python,
            "x = bytearray(700 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nbreach()"
        ),
        Attack(
            "take 800 MiB in eight processes",
            .python,
            "made = []\nr, w = os.pipe()\nfor i in range(8):\n    p = os.fork()\n    if p == 0:\n        x = bytearray(100 << 20)\n"
                + "        for i in range(0, len(x), 4096): x[i] = 1\n        os.write(w, b'x'); signal.pause()\n"
                + "    made.append(p)\nn = 0\nwhile n < 8: n += len(os.read(r, 8))\ntime.sleep(0.5)\nbreach()\nfor p in made: os.kill(p, 9)"
        ),
        Attack(
            "fill /tmp with 100 MiB",
            .bash,
            "head -c 60M /dev/zero >/tmp/a$$ && head -c 40M /dev/zero >/tmp/b$$ && echo BREACH; rm -f /tmp/a$$ /tmp/b$$"
        ),
        Attack(
            "write a file of 100 MiB",
            .python,
            "p = '/tmp/big%d' % os.getpid()\ntry:\n    f = open(p, 'wb'); f.truncate(100 << 20); breach()\nfinally: os.unlink(p)"
        ),
        Attack(
            "make 20,000 files in /tmp",
            .python,
            "d = '/tmp/many%d' % os.getpid(); os.mkdir(d)\ntry:\n    for i in range(20000): open(d + '/%d' % i, 'w').close()\n    breach()\nexcept OSError: pass\nimport shutil; shutil.rmtree(d)"
        ),
        Attack("open 1,000 files", .python, "f = [os.open('/dev/null', 0) for i in range(1000)]\nbreach()"),
        Attack("allocate shared memory", .python, "breach(call(29, 0, 64 << 20, 0o1600) >= 0)"),
        Attack("raise its own priority", .python, "breach(call(141, 0, 0, -5) == 0)"),
        Attack(
            "ask for real-time scheduling",
            .python,
            "p = ctypes.c_int(1)\nr = call(144, 0, 1, ctypes.addressof(p))\nif r == 0: call(144, 0, 0, ctypes.addressof(ctypes.c_int(0)))\nbreach(r == 0)"
        ),
    ]
}
