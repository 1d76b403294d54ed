import CLinux
import Glibc
import Pipeline

/// A Python that waits inside a sandbox made ahead, its standard library loaded, for one program; see
/// CSandbox/interpreter.c. Each is a process of its own from its exec on: no two share memory, hash seed or
/// addresses.
enum WarmPython {
    /// Whether a waiting Python can stand in for the command; its arguments, as `python3` would get them.
    static func arguments(of run: SandboxRun) -> [String]? {
        let decides = ["PATH", "LANG", "LC_ALL", "LD_PRELOAD", "LD_LIBRARY_PATH"]
        let isUsual = run.environment.keys.allSatisfy { !$0.hasPrefix("PYTHON") && !decides.contains($0) }
        guard isUsual, case .none = run.network, run.descriptorSecrets.isEmpty, run.ports.isEmpty,
            let first = run.command.first
        else { return nil }
        if first == "python3" || first == "/usr/bin/python3" {
            let arguments = Array(run.command.dropFirst())
            guard let word = arguments.first else { return nil }
            return word == "-c"
                ? (arguments.count > 1 ? arguments : nil) : word.hasPrefix("-") ? nil : arguments
        }
        return isPythonScript(first, run.mounts) ? run.command : nil
    }

    /// A script of a mounted folder that the kernel would give to python3.
    private static func isPythonScript(_ path: String, _ mounts: [SandboxMount]) -> Bool {
        guard let mount = mounts.first(where: { path.hasPrefix($0.inside + "/") }) else { return false }
        let host = mount.host + path.dropFirst(mount.inside.count)
        let file = open(host, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        var found = stat()
        guard fstat(file, &found) == 0, found.st_mode & S_IFMT == S_IFREG, found.st_mode & 0o111 == 0o111
        else {
            return false
        }
        var start = [UInt8](repeating: 0, count: 64)
        let count = read(file, &start, start.count)
        let line = start.prefix(max(0, count)).prefix { $0 != 0x0A }
        return ["#!/usr/bin/env python3", "#!/usr/bin/python3"].contains(
            String(decoding: line, as: UTF8.self)
        )
    }

    /// What the waiting Python runs. It takes its program, its descriptors and the last walls: limits,
    /// Landlock, and a filter without the calls that put these up. Any failure before these stand ends it.
    static let program = """
        import os, sys
        def wait():
            import array, ctypes, resource, socket, types
            names = '''abc argparse ast base64 bisect calendar collections contextlib copy csv dataclasses
                datetime decimal difflib email enum fractions functools glob gzip hashlib heapq hmac html
                html.parser inspect io itertools json locale logging math mimetypes operator pathlib
                pprint queue random re secrets shlex shutil sqlite3 statistics string struct subprocess
                tempfile textwrap threading time traceback typing unicodedata urllib.parse urllib.request
                uuid xml.etree.ElementTree zipfile zlib zoneinfo'''
            for name in names.split():
                try: __import__(name)
                except ImportError: pass
            import gc
            gc.collect()
            gc.freeze()
            call = ctypes.CDLL(None, use_errno=True).syscall
            class Program(ctypes.Structure):
                _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]
            # Fail with ENOSYS: seccomp, landlock_restrict_self. The filter in force decides all else.
            code = b"".join(
                c.to_bytes(2, "little") + bytes((t, f)) + k.to_bytes(4, "little")
                for c, t, f, k in ((32, 0, 0, 0), (21, 1, 0, 317), (21, 0, 1, 446), (6, 0, 0, 0x50026),
                    (6, 0, 0, 0x7fff0000)))
            buffer = ctypes.create_string_buffer(code, len(code))
            last = Program(5, ctypes.cast(buffer, ctypes.c_void_p))
            number, address = ctypes.c_long, ctypes.byref(last)
            control = socket.socket(fileno=3)
            message, sent, _, _ = control.recvmsg(1 << 18, socket.CMSG_SPACE(16))
            words = message.split(b"\\0")
            count, named, ruled, cpu, memory, size, files, processes = (int(w) for w in words[:8])
            arguments = [os.fsdecode(w) for w in words[8:8 + count]]
            variables = words[8 + count:8 + count + named]
            folder = words[8 + count + named]
            given = array.array("i", sent[0][2])
            for at in range(3): os.dup2(given[at], at)
            os.chdir(folder)
            for what, least, most in ((resource.RLIMIT_CPU, cpu, cpu + 1),
                (resource.RLIMIT_DATA, memory, memory), (resource.RLIMIT_FSIZE, size, size),
                (resource.RLIMIT_NOFILE, files, files),
                (resource.RLIMIT_NPROC, processes, processes)):
                resource.setrlimit(what, (least, most))
            if ruled and call(number(446), number(given[3]), number(0)) != 0: os._exit(125)
            if call(number(317), number(1), number(0), address) != 0: os._exit(125)
            control.close()
            for descriptor in given: os.close(descriptor)
            os.environ.clear()
            os.environb.update(v.split(b"=", 1) for v in variables)
            if arguments[0] in ("python3", "/usr/bin/python3"): del arguments[0]
            main = types.ModuleType("__main__")
            main.__builtins__ = __builtins__
            sys.modules["__main__"] = main
            return main, arguments
        try:
            main, sys.argv = wait()
        except BaseException:
            os._exit(125)
        del wait
        try:
            if sys.argv[0] == "-c":
                text = sys.argv.pop(1)
                name = "<string>"
            else:
                name = sys.argv[0]
                try:
                    with open(name, "rb") as file: text = file.read()
                    del file
                except OSError as error:
                    print("python3: can't open file %r: [Errno %d] %s" % (os.path.abspath(name), error.errno,
                        error.strerror), file=sys.stderr)
                    os._exit(2)
                main.__file__ = name
                main.__cached__ = None
                sys.path[0] = os.path.dirname(os.path.realpath(name))
            exec(compile(text, name, "exec", dont_inherit=True), main.__dict__)
        except SystemExit:
            raise
        except BaseException as error:
            # Without this frame.
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
            sys.excepthook(type(error), error, error.__traceback__)
            sys.exit(1)
        """
}
