"""Which system calls does the fence hold until the supervisor has looked at them?

A classic BPF program over `struct seccomp_data` (linux/seccomp.h): the number at 0, the architecture at 4,
argument i at 16 + 8 i, low word first on both machines that we know. Held: every call that can name a
destination. Refused at once: other system-call tables, io_uring (it would connect unseen).
"""

import errno
import struct
from dataclasses import dataclass

_ALLOW, _NOTIFY, _ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000  # SECCOMP_RET_*
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_NR, _ARCH = 0, 4
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_ALG = 1, 2, 10, 16, 38
_PLAIN_PROTOCOLS = (0, 6, 17, 262)  # default, TCP, UDP, MPTCP: all connect by connect(2); SCTP has other ways


@dataclass(frozen=True)
class Machine:
    """The numbers of one architecture (asm/unistd.h)."""

    audit_arch: int
    socket: int
    connect: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    io_uring_setup: int = 425


MACHINES = {
    "x86_64": Machine(0xC000003E, socket=41, connect=42, sendto=44, sendmsg=46, sendmmsg=307),
    "aarch64": Machine(0xC00000B7, socket=198, connect=203, sendto=206, sendmsg=211, sendmmsg=269),
}


def program(machine: Machine) -> bytes:
    """The filter's instructions, 8 bytes each (`struct sock_filter`).

    `sendto` without an address goes on unseen: the socket is connected, and that was seen. `sendmsg` keeps its
    address behind a pointer, so it is always held.
    """
    steps: list[tuple[int, int, str, str] | str] = [
        (_LOAD, _ARCH, "", ""),
        (_EQUAL, machine.audit_arch, "", "unknown"),
        (_LOAD, _NR, "", ""),
        (_AT_LEAST, 0x40000000, "unknown", ""),  # the x32 table of x86_64
        (_EQUAL, machine.io_uring_setup, "unknown", ""),
        (_EQUAL, machine.connect, "hold", ""),
        (_EQUAL, machine.sendmsg, "hold", ""),
        (_EQUAL, machine.sendmmsg, "hold", ""),
        (_EQUAL, machine.sendto, "sendto", ""),
        (_EQUAL, machine.socket, "socket", "pass"),
        "sendto",
        (_LOAD, 16 + 8 * 4, "", ""),
        (_EQUAL, 0, "", "hold"),
        (_LOAD, 20 + 8 * 4, "", ""),
        (_EQUAL, 0, "pass", "hold"),
        "socket",
        (_LOAD, 16, "", ""),
        (_EQUAL, _AF_UNIX, "pass", ""),
        (_EQUAL, _AF_NETLINK, "pass", ""),
        (_EQUAL, _AF_ALG, "no family", ""),  # the kernel's ciphers: local, and nobody needs them
        (_EQUAL, _AF_INET, "internet", ""),
        (_EQUAL, _AF_INET6, "internet", "hold"),
        "internet",
        (_LOAD, 16 + 8 * 2, "", ""),
        *((_EQUAL, protocol, "pass", "") for protocol in _PLAIN_PROTOCOLS),
        "hold",
        (_RETURN, _NOTIFY, "", ""),
        "pass",
        (_RETURN, _ALLOW, "", ""),
        "unknown",
        (_RETURN, _ERRNO | errno.ENOSYS, "", ""),
        "no family",
        (_RETURN, _ERRNO | errno.EAFNOSUPPORT, "", ""),
    ]
    places: dict[str, int] = {}
    instructions: list[tuple[int, int, str, str]] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(instructions)
        else:
            instructions.append(step)

    def distance(here: int, label: str) -> int:
        return places[label] - here - 1 if label else 0

    return b"".join(
        struct.pack("=HBBI", code, distance(here, yes), distance(here, no), value)
        for here, (code, value, yes, no) in enumerate(instructions)
    )
