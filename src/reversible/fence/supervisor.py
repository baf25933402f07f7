"""What does the fenced command try to reach, and may it?

The kernel holds every system call that can name a destination (`filter.py`) until this side has answered
(seccomp_unotify(2)). A refused call is never made: it returns "unreachable" to the command. In a network
namespace a call that goes on still meets a kernel that has no route; without one, nothing on the internet
families ever goes on: an allowed connection is made here and handed over.
"""

import ctypes
import errno
import fcntl
import ipaddress
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from reversible.fence.filter import Machine

_RECEIVE, _SEND, _STILL_VALID, _ADD_FD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103  # SECCOMP_IOCTL_NOTIF_*
_CONTINUE, _SET_FD = 1, 1
_AF_UNSPEC, _AF_UNIX, _AF_INET, _AF_INET6 = 0, 1, 2, 10
_FAMILIES = {17: "packet", 21: "rds", 30: "tipc", 31: "bluetooth", 40: "vsock", 42: "qipcrtr", 43: "smc", 44: "xdp"}
_MESSAGES_LIMIT = 1024  # UIO_MAXIOV: sendmmsg takes no more
_PIDFD_GETFD = 438

Log = Callable[[str, str, int, bool], None]  # protocol, host or name, port, allowed
Endpoint = tuple[str, int]


@dataclass(frozen=True)
class _Call:
    """One held system call (`struct seccomp_notif`)."""

    id: int
    pid: int
    number: int
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class _Target:
    """Where a call wants to go; host is empty for what has no destination."""

    family: int
    host: str = ""
    port: int = 0


class Supervisor:
    """Answers held calls, one by one, and logs each destination before the command can go on.

    Args:
        listener: The filter's listener; ours from now on.
        machine: The numbers of this architecture.
        contained: Whether the command has a network namespace of its own.
        allow: Ports on the inside's loopback, with the endpoint that each stands for.
        name_servers: Addresses whose port 53 is the sinkhole; it logs the names.
        log: Takes every attempt.
    """

    def __init__(
        self, listener: int, *, machine: Machine, contained: bool, allow: Mapping[int, Endpoint],
        name_servers: tuple[str, ...], log: Log,
    ) -> None:  # fmt: skip
        self.listener = listener
        self._machine = machine
        self._contained = contained
        self._allow = allow
        self._name_servers = {ipaddress.ip_address(one) for one in name_servers}
        self._log = log

    def close(self) -> None:
        os.close(self.listener)

    def serve(self) -> None:
        """Answer held calls until the command and all that it started are gone."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        while True:
            events = poll.poll()[0][1]
            if events & select.POLLIN:
                self._answer()
            elif events:
                return

    def _answer(self) -> None:
        buffer = bytearray(80)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return  # the caller was killed in between
            raise
        identifier, pid, _, number, _, _, *arguments = struct.unpack("=QIIiIQ6Q", buffer)
        call = _Call(identifier, pid, number, tuple(arguments))
        try:
            code = self._decide(call)
        except _UnreadableError:
            self._log("unknown", "(address could not be read)", 0, False)
            code = errno.EACCES
        if code is not None:
            self._send(call, code)

    # --- the decision -------------------------------------------------------------------------------------------

    def _decide(self, call: _Call) -> int | None:
        """The error to return, 0 to let the call go on, None when it was answered already."""
        if call.number == self._machine.socket:
            family = call.arguments[0] & 0xFFFFFFFF
            if family in (_AF_INET, _AF_INET6):
                self._log(f"protocol {call.arguments[2] & 0xFFFFFFFF}", "", 0, False)
                return errno.EPROTONOSUPPORT
            self._log(_FAMILIES.get(family, f"family {family}"), "", 0, False)
            return errno.EAFNOSUPPORT
        targets = list(self._targets(call))
        if not self._still_held(call):  # the process is gone: what we read may be another's memory
            return None
        descriptor = call.arguments[0] & 0xFFFFFFFF
        for target in dict.fromkeys(targets):
            answer = self._judge(call, descriptor, target)
            if answer != 0:
                return answer
        return 0

    def _judge(self, call: _Call, descriptor: int, target: _Target) -> int | None:
        if target.family == _AF_UNIX:
            return self._judge_path(call, target.host)
        if target.family not in (_AF_INET, _AF_INET6):
            return 0  # netlink, or "forget the peer": nothing leaves
        address = ipaddress.ip_address(target.host)
        protocol = _protocol(call.pid, descriptor)
        local = address.is_loopback or address.is_unspecified
        if target.port == 53 and address in self._name_servers and protocol != "tcp" and self._contained:
            return 0  # the sinkhole answers, and logs the name
        if local and target.port in self._allow and protocol == "tcp" and call.number == self._machine.connect:
            self._log(protocol, target.host, target.port, True)
            return 0 if self._contained else self._connect_for(call, descriptor, self._allow[target.port])
        if local and self._contained and _listens_inside(call.pid, protocol, target.port):
            self._log(protocol, target.host, target.port, True)
            return 0
        self._log(protocol, target.host, target.port, False)
        return errno.ECONNREFUSED if local else errno.ENETUNREACH

    def _judge_path(self, call: _Call, path: str) -> int:
        """A socket in the file system may be a door to another process's network: a name service, an agent."""
        if not path or path.startswith("\0"):
            # without a name: connected already; abstract: the network namespace has its own
            if not path or self._contained:
                return 0
            path = "@" + path[1:]
        elif not os.path.exists(f"/proc/{call.pid}/cwd/{path}" if not path.startswith("/") else path):  # noqa: PTH110
            return errno.ENOENT  # as the kernel would say: nothing was there to reach
        self._log("unix", path, 0, False)
        return errno.ECONNREFUSED

    def _connect_for(self, call: _Call, descriptor: int, endpoint: Endpoint) -> int | None:
        """Connect from this side and put the connection in the place of the command's socket."""
        try:
            ours = socket.create_connection(endpoint, timeout=10)
        except OSError as error:
            return error.errno or errno.ECONNREFUSED
        with ours:
            flags = _descriptor_flags(call.pid, descriptor)
            ours.setblocking(not flags & os.O_NONBLOCK)
            request = struct.pack(
                "=QIIII", call.id, _SET_FD, ours.fileno(), descriptor, flags & getattr(os, "O_CLOEXEC", 0)
            )
            try:
                fcntl.ioctl(self.listener, _ADD_FD, request)
            except OSError:
                return errno.ECONNREFUSED
        self._send(call, None)
        return None

    def _send(self, call: _Call, code: int | None) -> None:
        """Answer: an error, 0 to let it go on, None for "done, with success"."""
        flags = _CONTINUE if code == 0 else 0
        with suppress(FileNotFoundError):  # the process is gone
            fcntl.ioctl(self.listener, _SEND, bytearray(struct.pack("=QqiI", call.id, 0, -(code or 0), flags)))

    def _still_held(self, call: _Call) -> bool:
        try:
            fcntl.ioctl(self.listener, _STILL_VALID, struct.pack("=Q", call.id))
        except OSError:
            return False
        return True

    # --- the command's memory -----------------------------------------------------------------------------------

    def _targets(self, call: _Call) -> Iterator[_Target]:
        a = call.arguments
        with _Memory(call.pid) as memory:
            if call.number == self._machine.connect:
                yield _target(memory.read(a[1], min(a[2] & 0xFFFFFFFF, 128)), sending=False)
            elif call.number == self._machine.sendto:
                yield _target(memory.read(a[4], min(a[5] & 0xFFFFFFFF, 128)), sending=True)
            else:
                many = call.number == self._machine.sendmmsg
                step, count = (64, min(a[2] & 0xFFFFFFFF, _MESSAGES_LIMIT)) if many else (56, 1)
                for index in range(count):
                    where, size = struct.unpack("=QI", memory.read(a[1] + index * step, 12))
                    if where and size:
                        yield _target(memory.read(where, min(size, 128)), sending=True)


class _UnreadableError(Exception):
    """The address could not be read: the call is refused."""


class _Memory:
    def __init__(self, pid: int) -> None:
        try:
            self._file = os.open(f"/proc/{pid}/mem", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise _UnreadableError from error

    def __enter__(self) -> "_Memory":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def read(self, where: int, size: int) -> bytes:
        try:
            data = os.pread(self._file, size, where)
        except (OSError, OverflowError) as error:
            raise _UnreadableError from error
        if len(data) != size:
            raise _UnreadableError
        return data


def _target(raw: bytes, *, sending: bool) -> _Target:
    """Read a `struct sockaddr`."""
    if len(raw) < 2:
        return _Target(_AF_UNSPEC)
    family = struct.unpack_from("=H", raw)[0]
    if family == _AF_UNSPEC and sending:
        family = _AF_INET  # the kernel's UDP takes "unspecified" for IPv4 (net/ipv4/udp.c)
    if family == _AF_UNIX:
        path = raw[2:]
        return _Target(family, os.fsdecode(path if path[:1] == b"\0" else path.split(b"\0")[0]))
    if family == _AF_INET and len(raw) >= 8:
        return _Target(family, socket.inet_ntoa(raw[4:8]), struct.unpack_from(">H", raw, 2)[0])
    if family == _AF_INET6 and len(raw) >= 24:
        address = ipaddress.IPv6Address(raw[8:24])
        return _Target(family, str(address.ipv4_mapped or address), struct.unpack_from(">H", raw, 2)[0])
    return _Target(_AF_UNSPEC)


# --- what /proc and the kernel say about a process --------------------------------------------------------------


def _protocol(pid: int, descriptor: int) -> str:
    """ "tcp" or "udp"; "ip" where the kernel does not let us look."""
    try:
        group = next(
            int(line.split()[1]) for line in _lines(f"/proc/{pid}/status") if line.startswith("Tgid:")
        )  # fmt: skip
        process = os.pidfd_open(group)
    except (OSError, StopIteration, ValueError):
        return "ip"
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if copy < 0:
        return "ip"
    try:
        with socket.socket(fileno=copy) as theirs:
            kind = int(theirs.type) & 0xF
    except OSError:
        return "ip"
    return {1: "tcp", 2: "udp"}.get(kind, "ip")  # SOCK_STREAM, SOCK_DGRAM


def _listens_inside(pid: int, protocol: str, port: int) -> bool:
    """Whether a socket of the command's own network namespace waits at that port."""
    tables = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}.get(protocol, ())
    for table in tables:
        with suppress(OSError):
            for line in _lines(f"/proc/{pid}/net/{table}")[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and (protocol == "udp" or fields[3] == "0A"):
                    return True
    return False


def _descriptor_flags(pid: int, descriptor: int) -> int:
    with suppress(OSError):
        for line in _lines(f"/proc/{pid}/fdinfo/{descriptor}"):
            if line.startswith("flags:"):
                return int(line.split()[1], 8)
    return 0


def _lines(path: str) -> list[str]:
    with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - a /proc file, read whole
        return file.read().splitlines()
