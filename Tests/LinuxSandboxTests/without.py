"""Runs a command where the kernel lacks or refuses some system calls, as an old one or an outer container does.

usage: without.py LAYER[,LAYER...] COMMAND [WORD...]

LAYER: landlock, seccomp, user-namespaces, mount-calls, time-namespace
"""
import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
EPERM, EINVAL, ENOSYS = 1, 22, 38
CLONE_NEWUSER, CLONE_NEWTIME = 0x10000000, 0x80
CLONE, UNSHARE, SECCOMP = {"x86_64": (56, 272, 317), "aarch64": (220, 97, 277)}[platform.machine()]
OPEN_TREE, CLONE3, MOUNT_SETATTR, LANDLOCK_CREATE_RULESET = 428, 435, 442, 444

# Of each system call: its number, a bit that its first argument must have (0: none), and what it answers.
REFUSED = {
    "landlock": [(LANDLOCK_CREATE_RULESET, 0, ENOSYS)],
    "seccomp": [(SECCOMP, 0, EPERM)],
    # What clone3 is asked for a filter cannot see.
    "user-namespaces": [(CLONE, CLONE_NEWUSER, EPERM), (UNSHARE, CLONE_NEWUSER, EPERM), (CLONE3, 0, ENOSYS)],
    "mount-calls": [(OPEN_TREE, 0, ENOSYS), (MOUNT_SETATTR, 0, ENOSYS)],
    "time-namespace": [(UNSHARE, CLONE_NEWTIME, EINVAL)],
}

# Of classic BPF, and of struct seccomp_data.
LOAD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16
ALLOW, FAIL = 0x7FFF0000, 0x00050000


def program(layers):
    code = []
    for number, bit, error in [call for layer in layers for call in REFUSED[layer]]:
        found = [(RETURN, 0, 0, FAIL | error)]
        if bit:
            found = [(LOAD, 0, 0, FIRST_ARGUMENT_AT), (JUMP_IF_SET, 0, 1, bit)] + found
        code += [(LOAD, 0, 0, NUMBER_AT), (JUMP_IF_EQUAL, 0, len(found), number)] + found
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in code), len(code)


def main():
    code, length = program(sys.argv[1].split(","))
    libc = ctypes.CDLL(None, use_errno=True)
    lines = ctypes.create_string_buffer(code)
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", length, ctypes.addressof(lines)))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head):
        sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
