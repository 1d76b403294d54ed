"""Runs a command in a network of its own, from which brokers of this host are reached until it is cut.

usage: cut_off.py FOLDER PORT[,PORT...] COMMAND [WORD...]

The command finds the brokers at 127.0.0.1:PORT as before: what it connects to inside is handed to a helper that
stayed outside. While FOLDER/cut exists the network's only link is down: nothing arrives, and no connection is told
so. FOLDER/is-cut exists as long as that holds. The helpers end with the command.
"""
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading
import time

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
libc = ctypes.CDLL(None, use_errno=True)


def helper(work):
    """A child that ends with the command, whose process this one will be."""
    parent = os.getpid()
    if os.fork():
        return
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:
        work()
    os._exit(0)


def copy(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def connect(inside, port):
    try:
        outside = socket.create_connection(("127.0.0.1", port))
    except OSError:
        inside.close()
        return
    for ends in ((inside, outside), (outside, inside)):
        threading.Thread(target=copy, args=ends, daemon=True).start()


def outside(channel):
    while True:
        word, descriptors, _, _ = socket.recv_fds(channel, 2, 1)
        if not descriptors:
            return
        connect(socket.socket(fileno=descriptors[0]), struct.unpack("=H", word)[0])


def accept(listener, channel, port):
    while True:
        connection, _ = listener.accept()
        socket.send_fds(channel, [struct.pack("=H", port)], [connection.fileno()])
        connection.close()


def set_link(probe, up):
    request = struct.pack("=16sh14x", b"lo", 0)
    flags = struct.unpack("=16sh14x", fcntl.ioctl(probe, SIOCGIFFLAGS, request))[1]
    flags = flags | IFF_UP if up else flags & ~IFF_UP
    fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("=16sh14x", b"lo", flags))


def watch(probe, folder):
    is_cut = False
    while True:
        wanted = os.path.exists(f"{folder}/cut")
        if wanted != is_cut:
            set_link(probe, not wanted)
            is_cut = wanted
            if is_cut:
                open(f"{folder}/is-cut", "w").close()
            else:
                os.unlink(f"{folder}/is-cut")
        time.sleep(0.02)


def main():
    folder, ports, command = sys.argv[1], [int(port) for port in sys.argv[2].split(",")], sys.argv[3:]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    helper(lambda: outside(theirs))
    theirs.close()
    ids = {"uid_map": os.getuid(), "gid_map": os.getgid()}
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    with open("/proc/self/setgroups", "w") as file:
        file.write("deny")
    for name, number in ids.items():
        with open(f"/proc/self/{name}", "w") as file:
            file.write(f"{number} {number} 1")
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    set_link(probe, True)
    listeners = [(socket.create_server(("127.0.0.1", port)), port) for port in ports]

    def inside():
        for listener, port in listeners:
            threading.Thread(target=accept, args=(listener, ours, port), daemon=True).start()
        watch(probe, folder)

    helper(inside)
    os.execv(command[0], command)


main()
