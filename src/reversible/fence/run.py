"""How is a command started inside the strongest fence that this machine has?"""

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reversible.fence import names
from reversible.fence.broker import Broker
from reversible.fence.filter import MACHINES, Machine, program
from reversible.fence.supervisor import Supervisor

KINDS = ("namespace", "bubblewrap", "unshare", "seccomp", "none")
_TAIL_LINES = 200
_LOOK_S = 0.2  # how often `stop` is looked at
_LINE_LIMIT = 1 << 20  # bytes; a longer line is handed on in pieces
_SETUP_TIMEOUT_S = 20.0
_SERVER_TIMEOUT_S = 2.0  # nobody is left to ask it; old kernels may not say so

_BUBBLEWRAP = ("bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-net", "--cap-add", "ALL",
               "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc", "--die-with-parent")  # fmt: skip
_UNSHARE = ("unshare", "--map-root-user", "--net", "--")

_NOTES = {
    "namespace": "own network without a route; every attempt is held, logged and refused by a supervisor",
    "bubblewrap": "own network without a route, made by bubblewrap; every attempt is logged and refused",
    "unshare": "own network without any interface; attempts fail in the kernel and are not logged",
    "seccomp": "the host's network, with every call that names a destination held, logged and refused",
    "none": "an ordinary process: nothing is cut and nothing is counted",
}
_LIMITS = {
    "namespace": (),
    "bubblewrap": (),
    "unshare": (
        "attempts are refused by the kernel but neither counted nor named",
        "sockets in the file system (an agent, a container engine) can be opened",
        "socket families without a network namespace (vsock) are not refused",
        "programs that the command leaves behind are not ended with it",
    ),
    "seccomp": (
        "names asked for are not seen: only the name server's address is",
        "a hostile program with several threads could swap the address of an allowed call while it is checked",
    ),
    "none": ("nothing is refused and nothing is counted",),
}
_HOSTILE = "a hostile program could change an address after it was read: it would be refused, under another name"
_AS_ROOT = "it was started as root: the files of root are open to the command"


@dataclass(frozen=True)
class Attempt:
    """One attempt to reach something. `host` is an address, a name (proto "dns") or a path (proto "unix").

    `at_s` counts from the start of the command, in seconds; attempts are in the order in which they were made.
    """

    at_s: float
    proto: str
    host: str
    port: int
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class Fenced:
    """What became of the command, and what it tried.

    `returncode` is negative for a signal, as in `subprocess`; None when the time was up. `counted` says whether
    `attempts` is the whole list: without it an empty list means nothing. `unlogged` is what the kernel counted
    as sent without a route, beside the log: anything but 0 means that the log is not whole; None without a network
    of its own, where that counter is everybody's. `refused_kinds` are
    the stronger fences that this machine did not give, each with the reason.
    """

    kind: str
    note: str
    returncode: int | None
    stdout: str
    stderr: str
    attempts: tuple[Attempt, ...]
    counted: bool
    names_seen: bool
    unlogged: int | None
    limits: tuple[str, ...]
    setup_s: float
    seconds: float
    refused_kinds: Mapping[str, str]


def run(
    argv: Sequence[str],
    *,
    allow: Mapping[int, tuple[str, int]] | None = None,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
    kinds: Sequence[str] = KINDS,
    memory_bytes: int | None = None,
    hide: Sequence[Path] = (),
    stop: threading.Event | None = None,
) -> Fenced:
    """Run a command behind the first fence of `kinds` that can be set up whole, and wait for its end.

    Args:
        argv: The command; its program is looked up in the PATH of `env`.
        allow: Port on the command's loopback -> the endpoint (host, port) that it stands for.
        env: The command's whole environment.
        cwd: Its working directory; the caller's when None.
        timeout_s: Wall-clock seconds before it is killed with all that it started.
        on_line: Takes each line of its standard output as it comes.
        kinds: The fences to try, strongest first.
        memory_bytes: Address space that each of its processes may have ("namespace", "bubblewrap", "seccomp").
        hide: Files and directories that shall look empty to it ("namespace", "bubblewrap"); must exist.
        stop: Another thread sets it when the command shall end now, as if its time were up.

    Raises:
        OSError: none of `kinds` could be set up; the message has the reason of each.
    """
    refused: dict[str, str] = {}
    for kind in kinds:
        started = time.monotonic()
        run_kind = _Run(argv, dict(allow or {}), dict(env), cwd, timeout_s, on_line, memory_bytes, tuple(hide), stop)
        try:
            return run_kind.go(kind, started, refused)
        except _NotHereError as error:
            refused[kind] = str(error)
    raise OSError("no fence could be set up here: " + "; ".join(f"{kind}: {why}" for kind, why in refused.items()))


class _NotHereError(Exception):
    """This machine does not give that kind of fence; nothing of the command has run."""


@dataclass
class _Run:
    argv: Sequence[str]
    allow: Mapping[int, tuple[str, int]]
    env: Mapping[str, str]
    cwd: Path | None
    timeout_s: float | None
    on_line: Callable[[str], None] | None
    memory_bytes: int | None
    hide: tuple[Path, ...]
    stop: threading.Event | None
    attempts: list[Attempt] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    began: float = 0.0

    def go(self, kind: str, started: float, refused: Mapping[str, str]) -> Fenced:
        self.began = time.monotonic()
        counted = kind in ("namespace", "bubblewrap", "seccomp")
        with self._supervised(kind) if counted else self._plain(kind) as inside:
            setup_s = time.monotonic() - started
            self.began = time.monotonic()
            inside.follow()
            seconds = time.monotonic() - self.began
        shown = "files that should be hidden from it are open to the command"
        limits = _LIMITS[kind] + ((shown,) if self.hide and kind not in ("namespace", "bubblewrap") else ())
        limits += (_HOSTILE,) if kind in ("namespace", "bubblewrap") else ()
        return Fenced(
            kind=kind,
            note=_NOTES[kind],
            returncode=inside.returncode,
            stdout="".join(inside.tails["stdout"]),
            stderr="".join(inside.tails["stderr"]),
            attempts=tuple(self.attempts),
            counted=counted,
            names_seen=kind in ("namespace", "bubblewrap"),
            unlogged=inside.unlogged,
            limits=(*limits, *((_AS_ROOT,) if os.geteuid() == 0 else ()), *self.troubles),
            setup_s=setup_s,
            seconds=seconds,
            refused_kinds=dict(refused),
        )

    def log(self, proto: str, host: str, port: int, allowed: bool) -> None:
        self.attempts.append(Attempt(round(time.monotonic() - self.began, 4), proto, host, port, allowed))

    # --- the two ways to start ----------------------------------------------------------------------------------

    @contextmanager
    def _plain(self, kind: str) -> Iterator["_Inside"]:
        if kind not in ("unshare", "none"):
            raise _NotHereError("there is no such fence")
        prefix: tuple[str, ...] = ()
        if kind == "unshare":
            prefix = _UNSHARE
            try:
                tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, timeout=_SETUP_TIMEOUT_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise _NotHereError(str(error)) from error
            if tried.returncode:
                raise _NotHereError(tried.stderr.strip() or f"unshare ended with {tried.returncode}")
        command = [*self._with_program(), *self.argv[1:]]
        try:
            process = self._popen([*prefix, *command], env=self.env, cwd=self.cwd)
        except OSError as error:
            yield _Inside(self, None, failure=f"{self.argv[0]}: {error.strerror}")
            return
        with _ended(process):
            yield _Inside(self, process)

    @contextmanager
    def _supervised(self, kind: str) -> Iterator["_Inside"]:
        if not sys.platform.startswith("linux"):
            raise _NotHereError(f"{sys.platform} has no such fence")
        machine = MACHINES.get(os.uname().machine)
        if machine is None or sys.byteorder != "little":
            raise _NotHereError(f"no system-call filter is written for {os.uname().machine}")
        if kind == "bubblewrap" and shutil.which("bwrap") is None:
            raise _NotHereError("bwrap is not installed")
        contained = kind != "seccomp"
        servers = names.name_servers()
        order = {
            "contained": contained, "make": kind == "namespace", "uid": os.geteuid(), "gid": os.getegid(),
            "ports": list(self.allow), "name_servers": servers, "filter": program(machine).hex(),
            "argv": list(self.argv), "cwd": str(self.cwd) if self.cwd else "", "memory_bytes": self.memory_bytes,
            "hide": [str(one) for one in self.hide],
        }  # fmt: skip
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            helper = str(Path(__file__).with_name("inside.py"))
            prefix = self._bubblewrap() if kind == "bubblewrap" else []
            command = [*prefix, sys.executable, "-I", "-S", helper, str(theirs.fileno())]
            try:
                with theirs:
                    process = self._popen(command, env=self.env, cwd=None, pass_fds=(theirs.fileno(),))
            except OSError as error:
                raise _NotHereError(f"{command[0]}: {error.strerror}") from error
            with _ended(process) as end:
                inside = _Inside(self, process, control=ours, end=end)
                try:
                    inside.set_up(order)
                    inside.supervise(machine, servers)
                    yield inside
                finally:
                    end()
                    inside.close()

    def _bubblewrap(self) -> list[str]:
        hidden = [("--tmpfs", str(one)) if one.is_dir() else ("--bind", "/dev/null", str(one)) for one in self.hide]
        return [*_BUBBLEWRAP, *(word for words in hidden for word in words)]

    def _with_program(self) -> list[str]:
        found = shutil.which(self.argv[0], path=self.env.get("PATH", os.defpath))
        return [found or self.argv[0]]

    @staticmethod
    def _popen(
        command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, env=env, cwd=cwd, pass_fds=pass_fds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip


class _Inside:
    """The running command, seen from outside: one loop over all that it says and asks, so the log has one order."""

    def __init__(
        self, owner: _Run, process: subprocess.Popen[bytes] | None, *, control: socket.socket | None = None,
        end: "_End | None" = None, failure: str = "",
    ) -> None:  # fmt: skip
        self._owner = owner
        self._process = process
        self._control = control
        self._end = end
        self._contained = True
        self._received: list[int] = []
        self._listener: int | None = None
        self._supervisor: Supervisor | None = None
        self._server: threading.Thread | None = None
        self._broken: BaseException | None = None
        self._brokers: list[Broker] = []
        self._sinkholes: list[socket.socket] = []
        self._asked: set[tuple[str, Any]] = set()
        self._partial = {"stdout": b"", "stderr": b""}
        self._status: int | None = None
        self._done = False
        self.tails: dict[str, deque[str]] = {name: deque(maxlen=_TAIL_LINES) for name in ("stdout", "stderr")}
        self.unlogged: int | None = None
        self.returncode: int | None = None
        if failure:
            self.returncode = 127
            self.tails["stderr"].append(failure + "\n")

    # --- before the command runs --------------------------------------------------------------------------------

    def set_up(self, order: Mapping[str, Any]) -> None:
        """Exchange orders and sockets with the inside.

        Raises:
            _NotHereError: a step failed; the command has not started.
        """
        assert self._control is not None  # noqa: S101 - only supervised kinds come here
        self._control.settimeout(_SETUP_TIMEOUT_S)
        self._contained = order["contained"]
        try:
            self._control.send(json.dumps(order).encode())
            while self._listener is None:
                message, descriptors, _, _ = socket.recv_fds(self._control, 1 << 16, 64)
                if not message:
                    raise _NotHereError(self._last_words())
                document = json.loads(message)
                if "failed" in document:
                    raise _NotHereError(document["failed"])
                if "listener" in document:
                    self._listener = descriptors[0]
                else:
                    self._received += descriptors
                if "command" in document:
                    self._note_command(document["command"])
        except OSError as error:
            raise _NotHereError(str(error)) from error
        self._control.settimeout(None)

    def supervise(self, machine: Machine, servers: tuple[str, ...]) -> None:
        """Take the listener and the sockets that exist inside."""
        assert self._listener is not None  # noqa: S101 - set_up has it
        sockets = [socket.socket(fileno=descriptor) for descriptor in self._received]
        self._received = []
        allow = self._owner.allow
        if self._contained:
            self._brokers = [
                Broker(listener, endpoint, failed=self._owner.troubles.append)
                for listener, endpoint in zip(sockets[: len(allow)], allow.values(), strict=True)
            ]
            self._sinkholes = sockets[len(allow) :]
            for one in sockets:
                one.setblocking(False)
        self._supervisor = Supervisor(
            self._listener, machine=machine, contained=self._contained, allow=allow, name_servers=servers,
            log=self._owner.log,
        )  # fmt: skip

    def close(self) -> None:
        for descriptor in self._received:
            os.close(descriptor)
        for broker in self._brokers:
            broker.close()
        for sinkhole in self._sinkholes:
            sinkhole.close()
        if self._supervisor is not None:
            self._supervisor.close()
        elif self._listener is not None:
            os.close(self._listener)

    # --- while it runs ------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Serve the command until it and its output have ended, or its time is up."""
        process = self._process
        if process is None:
            return
        timeout_s, stop = self._owner.timeout_s, self._owner.stop
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        timed_out = False
        with selectors.DefaultSelector() as selector:
            watched = self._watch(selector)
            if self._control is not None:
                self._control.send(b"go")
            while watched:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if stop is not None:
                    left = _LOOK_S if left is None else min(left, _LOOK_S)
                events = selector.select(left)
                if (deadline is not None and time.monotonic() >= deadline) or (stop is not None and stop.is_set()):
                    timed_out = True
                    break
                for key, _ in events:
                    if not key.data():
                        selector.unregister(key.fileobj)
                        watched.discard(key.fd)
        if self._end is not None:
            self._end()
        elif timed_out:
            _kill_group(process)
        code = process.wait()
        if self._server is not None:
            self._server.join(_SERVER_TIMEOUT_S)
            if self._broken is not None:
                raise self._broken
        if self._control is None:
            self._status = code
        self.returncode = None if timed_out else self._status if self._done or self._control is None else code

    def _watch(self, selector: selectors.BaseSelector) -> set[int]:
        """Register all sources of events; returns the ones whose end is the command's end."""
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
        streams = {"stdout": process.stdout.fileno(), "stderr": process.stderr.fileno()}
        for name, descriptor in streams.items():
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ, lambda n=name, d=descriptor: self._output(n, d))
        watched = set(streams.values())
        if self._control is not None and self._supervisor is not None:
            selector.register(self._control, selectors.EVENT_READ, self._message)
            watched.add(self._control.fileno())
            self._start_supervisor(self._supervisor)
        for broker in self._brokers:
            selector.register(broker.listener, selectors.EVENT_READ, lambda b=broker: b.accept() or True)
        for sinkhole in self._sinkholes:
            selector.register(sinkhole, selectors.EVENT_READ, lambda s=sinkhole: self._name(s))
        return watched

    def _start_supervisor(self, supervisor: Supervisor) -> None:
        """Serve held calls from a thread: asking the kernel for one can block, when its caller is just then killed."""

        def serve() -> None:
            try:
                supervisor.serve()
            except BaseException as error:  # noqa: BLE001 - raised again by `follow`; nothing may stay held meanwhile
                self._broken = error
                if self._process is not None:
                    _kill_group(self._process)

        self._server = threading.Thread(target=serve, daemon=True)
        self._server.start()

    def _output(self, name: str, descriptor: int) -> bool:
        try:
            block = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        *whole, rest = (self._partial[name] + block).split(b"\n")
        if len(rest) > _LINE_LIMIT or not block:
            whole, rest = [*whole, *([rest] if rest else [])], b""
        self._partial[name] = rest
        for line in whole:
            text = line.decode("utf-8", "replace")
            self.tails[name].append(text + "\n")
            if name == "stdout" and self._owner.on_line is not None:
                self._owner.on_line(text)
        return bool(block)

    def _message(self) -> bool:
        assert self._control is not None  # noqa: S101 - registered only with one
        try:
            message = self._control.recv(1 << 16)
        except OSError:
            return False
        if not message:
            return False
        document = json.loads(message)
        if "command" in document:
            self._note_command(document["command"])
        elif "exec" in document:
            self.tails["stderr"].append(document["exec"] + "\n")
        elif "ended" in document:
            self._status, self.unlogged, self._done = document["ended"], document["unlogged"], True
        return True

    def _note_command(self, number: int) -> None:
        if self._end is not None and not self._contained:
            self._end.command = number  # only there is it a number of ours

    def _name(self, sinkhole: socket.socket) -> bool:
        try:
            packet, asker = sinkhole.recvfrom(4096)
        except OSError:  # woken for nothing
            return True
        name = names.question(packet)
        if (name, asker) not in self._asked:  # IPv4 and IPv6 of one name from one socket are one question
            self._asked.add((name, asker))
            self._owner.log("dns", name, 53, False)
        with suppress(OSError):  # the asker may be gone
            sinkhole.sendto(names.no_such_name(packet), asker)
        return True

    def _last_words(self) -> str:
        """Why the inside ended before it could say so itself (bubblewrap, an interpreter that cannot start)."""
        process = self._process
        assert process is not None and process.stderr is not None  # noqa: S101, PT018
        if self._end is not None:
            self._end()
        lines = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"ended with {process.returncode}"


class _End:
    """Ends the process and all that it started, once."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.command: int | None = None  # the command's own number, where it is not in a process namespace

    def __call__(self) -> None:
        process = self._process
        if self.command is not None and process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.command, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)  # the first process collects and ends what the command left behind
        if process.poll() is None:
            _kill_group(process)
        process.wait()


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[_End]:
    """Whatever happens in the block, nothing runs on after it."""
    end = _End(process)
    try:
        yield end
    finally:
        end()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
