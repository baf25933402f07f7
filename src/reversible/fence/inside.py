"""What happens on the fenced side, before the command starts?

Run as a program of its own (`python -I -S inside.py FD`), so it imports nothing of ours: it makes the namespaces,
opens the few sockets that exist in them and hands them out, drops every right, installs the system-call filter
and becomes the command. Any step that fails is reported and ends it: there is no half fence.

Three processes: the outer one enters the namespaces; its child is their first process, which collects orphans
and whose death ends all others; the grandchild becomes the command.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
)  # fmt: skip
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
_SECCOMP_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_MS_READ_ONLY, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 0x1000, 0x4000, 1 << 18
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41
_RTM_NEWADDR, _NLM_F_REQUEST_ACK_CREATE, _NLMSG_ERROR, _IFA_F_NODAD = 20, 0x405, 2, 0x02
_MESSAGE_LIMIT = 1 << 20  # bytes; the order holds a command line and an address list

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)  # the command must not hold it: it could speak in our name
    order = json.loads(control.recv(_MESSAGE_LIMIT))
    try:
        sockets = _enter(order)
    except OSError as error:
        _give_up(control, error)
    _die_with_parent()
    socket.send_fds(control, [b'{"ready": true}'], [one.fileno() for one in sockets])
    for one in sockets:
        one.close()
    first = os.fork()
    if first == 0:
        _be_first(control, order)
    control.close()
    _, status = os.waitpid(first, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


# --- the namespaces ---------------------------------------------------------------------------------------------


def _enter(order: dict[str, Any]) -> list[socket.socket]:
    """Enter them and open what exists there: one listener per allowed port, one sinkhole per name server."""
    if not order["contained"]:
        return []
    if order["make"]:
        uid, gid = os.geteuid(), os.getegid()
        kinds = _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWNS
        _call("user, network, process, IPC and mount namespaces", _libc.unshare(kinds))
        _map_ids(0, uid, 0, gid)
        _hide(order["hide"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING)
        import fcntl

        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
    sockets = []
    for port in order["ports"]:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        sockets.append(listener)
    for address in order["name_servers"]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if not address.startswith("127.") and address != "::1":
            _add_address(family, address)
        sinkhole = socket.socket(family, socket.SOCK_DGRAM)
        sinkhole.bind((address, 53))
        sockets.append(sinkhole)
    return sockets


def _map_ids(uid: int, outer_uid: int, gid: int, outer_gid: int) -> None:
    lines = (("setgroups", "deny"), ("uid_map", f"{uid} {outer_uid} 1"), ("gid_map", f"{gid} {outer_gid} 1"))
    for name, line in lines:
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(descriptor, line.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from error
        finally:
            os.close(descriptor)


def _hide(places: list[str]) -> None:
    """Put an empty directory over each directory, and nothing at all over each file."""
    _call("private mounts", _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    for place in places:
        where = os.fsencode(place)
        if os.path.isdir(place):  # noqa: PTH112
            _call(f"hiding {place}", _libc.mount(b"none", where, b"tmpfs", _MS_READ_ONLY, None))
        else:
            _call(f"hiding {place}", _libc.mount(b"/dev/null", where, None, _MS_BIND, None))


def _add_address(family: int, address: str) -> None:
    """Make the name server's address one of ours, so that a resolver accepts the sinkhole's answer as its own."""
    raw = socket.inet_pton(family, address)
    body = struct.pack("=BBBBi", family, len(raw) * 8, _IFA_F_NODAD, 254, socket.if_nametoindex("lo"))
    for kind in (1, 2):  # IFA_ADDRESS, IFA_LOCAL
        body += struct.pack("=HH", 4 + len(raw), kind) + raw
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), _RTM_NEWADDR, _NLM_F_REQUEST_ACK_CREATE, 1, 0) + body)
        answer = netlink.recv(4096)
    if (code := struct.unpack_from("=i", answer, 16)[0]) != 0:
        raise OSError(-code, os.strerror(-code), f"address {address} on lo")


def _lost_packets() -> int | None:
    """What the kernel counted as sent without a route, IPv4 and IPv6: every attempt that no log line stands for."""
    try:
        lines = [line.split() for line in _read("/proc/self/net/snmp").splitlines() if line.startswith("Ip:")]
        lost = int(dict(zip(lines[0], lines[1], strict=True))["OutNoRoutes"])
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in _read("/proc/self/net/snmp6").splitlines():
                if line.startswith("Ip6OutNoRoutes"):
                    lost += int(line.split()[1])
    except (OSError, KeyError, IndexError, ValueError):
        return None
    return lost


# --- the first process ------------------------------------------------------------------------------------------


def _be_first(control: socket.socket, order: dict[str, Any]) -> NoReturn:
    _die_with_parent()
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # on the host's own network the kernel's counter is everybody's, and says nothing
    before = _lost_packets() if order["contained"] else None
    command = os.fork()
    if command == 0:
        _become(control, order)
    control.send(json.dumps({"command": command}).encode())
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    status = 0
    while True:
        pid, ended = os.wait()
        if pid == command:
            status = ended
            break
    with suppress(ChildProcessError):
        while True:  # what it left running ends with it
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            os.wait()
    after = _lost_packets() if before is not None else None
    unlogged = after - before if before is not None and after is not None else None
    with suppress(OSError):
        control.send(json.dumps({"ended": os.waitstatus_to_exitcode(status), "unlogged": unlogged}).encode())
    os._exit(0)


def _children() -> list[int]:
    """Our children by number; in a process namespace of our own the kernel ends them, and the numbers are others."""
    if os.getpid() == 1:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return []
    return [int(pid) for pid in _read("/proc/thread-self/children").split()]


def _become(control: socket.socket, order: dict[str, Any]) -> NoReturn:
    os.setsid()
    _die_with_parent()
    try:
        if order["contained"]:
            _nest(order["uid"], order["gid"])
        _drop_rights()
        _die_with_parent()  # once more: a change of rights makes the kernel forget it
        _call("no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if order["memory_bytes"]:
            resource.setrlimit(resource.RLIMIT_AS, (order["memory_bytes"], order["memory_bytes"]))
        if order["cwd"]:
            os.chdir(order["cwd"])
        _filter(control, bytes.fromhex(order["filter"]))
    except OSError as error:
        _give_up(control, error)
    if control.recv(16) != b"go":  # the supervisor has the listener; without it nothing may start
        os._exit(125)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them; the command must not inherit that
    try:
        os.execvpe(order["argv"][0], order["argv"], os.environ)  # noqa: S606 - no shell, by an argument list
    except OSError as error:
        # os.write: `send` without an address passes the filter too, but nothing here should depend on it
        os.write(control.fileno(), json.dumps({"exec": f"{order['argv'][0]}: {error.strerror}"}).encode())
    os._exit(127)


def _nest(uid: int, gid: int) -> None:
    """A nested user namespace: the caller's own number, and no right over the network namespace around it."""
    inner_uid, inner_gid = os.geteuid(), os.getegid()
    _call("nested user namespace", _libc.unshare(_CLONE_NEWUSER))
    _map_ids(uid, inner_uid, gid, inner_gid)


def _drop_rights() -> None:
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            break  # the kernel knows no more, or we have none to drop
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)  # _LINUX_CAPABILITY_VERSION_3
    _call("dropping capabilities", _libc.capset(header, ctypes.create_string_buffer(24)))


def _filter(control: socket.socket, program: bytes) -> None:
    """Install the filter, and hand its listener out through a thread that is not under it.

    The filter holds `sendmsg` until the supervisor answers, and the supervisor cannot answer before it has the
    listener: so the handing out is done by a second thread, which shares the descriptor and not the filter.
    """
    code = ctypes.create_string_buffer(program, len(program))
    where = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)), 16)
    number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
    listeners: list[int] = []
    installed = threading.Event()

    def hand_out() -> None:
        installed.wait()
        if listeners:
            socket.send_fds(control, [b'{"listener": true}'], listeners)

    messenger = threading.Thread(target=hand_out)
    messenger.start()
    try:
        for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # the second for kernels before 5.19
            listener = _libc.syscall(number, _SECCOMP_SET_MODE_FILTER, flags, where)
            if listener >= 0:
                listeners.append(listener)
                break
        _call("system-call filter", listener)
    finally:
        installed.set()
        messenger.join()


# --- small things -----------------------------------------------------------------------------------------------


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _call(what: str, result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def _give_up(control: socket.socket, error: OSError) -> NoReturn:
    where = f"{error.filename}: " if error.filename else ""
    os.write(control.fileno(), json.dumps({"failed": f"{where}{error.strerror}"}).encode())
    os._exit(125)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 10 ms of start
        return file.read()


if __name__ == "__main__":
    main()
