"""How do we speak with a host over the user's own ssh?

One `ssh` process per line: its agents, jump hosts, `~/.ssh/config` and known_hosts are the user's; a host key that is
not in known_hosts ends it, and nothing is ever asked at a terminal. The far end is `ssh_agent`, sent over the line.
"""

import json
import logging
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from shlex import quote
from typing import IO, Any, Self

from reversible.errors import DestinationError

log = logging.getLogger(__name__)

ALIVE_S = 10.0  # how often we say that we are still here
_MARK = "REVERSIBLE-AGENT"
_ANSWER_LIMIT = 1 << 24  # bytes of one answer; a thousand files' digests take 0.2 MB
_NOISE_LIMIT = 200  # lines that a login may print before our far end speaks
_OPTIONS = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=20", "ServerAliveInterval=15",
    "ServerAliveCountMax=4", "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no",
    "RequestTTY=no", "EscapeChar=none", "ControlMaster=no", "ControlPath=none", "Compression=no",
)  # fmt: skip
# No double quote, no $ and no backslash: it stands between double quotes in a shell's text.
_BOOT = (
    "import sys,platform as p;"
    "print('REVERSIBLE-AGENT',sys.implementation.name,'%d.%d'%sys.version_info[:2],p.machine(),p.system(),"
    "p.libc_ver()[1]or'-',flush=True);s=sys.stdin.buffer;exec(compile(s.read(int(s.readline())),'agent','exec'))"
)


class LineLostError(DestinationError):
    """The line broke after it had been up; what arrived is kept, and the same request can be made again."""


@dataclass(frozen=True)
class Host:
    """How the host introduced itself: "cpython", "3.11", "x86_64", "Linux", "2.36" (glibc; "-" for another)."""

    implementation: str
    python: str
    machine: str
    system: str
    glibc: str


class Line:
    """One line to a host; use it as a context manager.

    Args:
        host: As `ssh` takes it.
        config: A file in the place of ~/.ssh/config; the user's when None.
        pythons: Interpreters to look for there, the best first.

    Raises:
        DestinationError: the host cannot be reached, is not the one in known_hosts, refuses the user, or has no
            Python; the message says which, the hint what to type next.
    """

    host: Host

    def __init__(self, host: str, *, config: Path | None = None, pythons: Sequence[str] = ("python3",)) -> None:
        self.name = host
        self._pythons = pythons
        self._command = ["ssh", *(["-F", str(config)] if config else [])]
        self._errors: deque[str] = deque(maxlen=50)
        self._speaking = threading.Lock()  # a sign of life must not fall into a file's bytes
        self._over = threading.Event()

    @property
    def spoken(self) -> str:
        """How a user types it: "ssh -F FILE HOST"."""
        return " ".join(map(quote, [*self._command, self.name]))

    def __enter__(self) -> Self:
        options = [word for option in _OPTIONS for word in ("-o", option)]
        command = [*self._command, *options, "-T", "--", self.name, _remote_command(self._pythons)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except FileNotFoundError as error:
            raise DestinationError(
                "ssh is not installed on this machine", hint="sudo apt-get install -y openssh-client"
            ) from error
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: S101, PT018 - pipes
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()
        try:
            self.host = self._introduced()
            agent = (resources.files("reversible.destinations") / "ssh_agent.py").read_bytes()
            self._write(b"%d\n%s" % (len(agent), agent))
        except BaseException:
            self._close()
            raise
        self._alive = threading.Thread(target=self._say_alive, daemon=True)
        self._alive.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._close()
        self._alive.join()

    def ask(self, op: str, **rest: Any) -> dict[str, Any]:
        """One request, one answer.

        Raises:
            LineLostError: the line broke.
            DestinationError: the host could not do it.
        """
        self.send(op, **rest)
        return self.answer()

    def send(self, op: str, blocks: Iterable[bytes] = (), **rest: Any) -> None:
        """A request whose answer is taken later, by `answer`, in the same order; for "put" with the file's bytes."""
        with self._speaking:
            self._write(json.dumps({"op": op, **rest}).encode() + b"\n")
            for block in blocks:
                self._write(block)

    def answer(self) -> dict[str, Any]:
        answer = self._read()
        if "error" in answer:
            raise self._refusal(answer)
        return answer

    def get(self, path: str, *, limit: int) -> bytes:
        """A file of the host's.

        Raises:
            DestinationError: it is larger than `limit` bytes, or cannot be read.
        """
        size = self.ask("get", path=path)["size"]
        if not isinstance(size, int) or not 0 <= size <= limit:
            raise DestinationError(f"{self.name}: {path} is larger than it can be: {size} bytes")
        content = self._out.read(size)
        if len(content) != size:
            raise self._lost()
        return content

    def run(self, argv: Sequence[str]) -> Iterator[str]:
        """The lines that a command prints there, as they come; `ended` and `stderr` are set when it is over."""
        self.send("run", argv=list(argv))
        while "line" in (answer := self.answer()):
            yield str(answer["line"])
        self.ended, self.stderr = int(answer["ended"]), [str(line) for line in answer["stderr"]]

    # --- the pipe -----------------------------------------------------------------------------------------------

    def _say_alive(self) -> None:
        """The far end gives up a line on which nothing comes: a broken one looks the same from there."""
        with suppress(LineLostError):  # whoever waits for an answer sees it, too, and says so
            while not self._over.wait(ALIVE_S):
                if self._speaking.acquire(blocking=False):
                    try:
                        self._write(b"\n")
                    finally:
                        self._speaking.release()

    def _write(self, content: bytes) -> None:
        try:
            self._in.write(content)
            self._in.flush()
        except OSError as error:
            raise self._lost() from error

    def _read(self) -> dict[str, Any]:
        line = self._out.readline(_ANSWER_LIMIT)
        if len(line) == _ANSWER_LIMIT:
            raise DestinationError(f"{self.name}: the far end answered more than {_ANSWER_LIMIT >> 20} MiB in one line")
        if not line.endswith(b"\n"):
            raise self._lost()
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise DestinationError(f"{self.name}: the far end answered what is no answer: {line[:200]!r}") from error
        if not isinstance(answer, dict):
            raise DestinationError(f"{self.name}: the far end answered what is no answer: {line[:200]!r}")
        return answer

    def _introduced(self) -> Host:
        for _ in range(_NOISE_LIMIT):
            line = self._out.readline(1 << 16).decode("utf-8", "replace")
            if not line:
                break
            if line.startswith(f"{_MARK} ") and len(words := line.split()[1:]) == 5:
                return Host(*words)
        self._process.wait()
        self._listener.join(5)
        raise failure(self.name, self._process.returncode, list(self._errors), config=self._command[2:])

    def _lost(self) -> LineLostError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._listener.join(2)
        said = next((line for line in reversed(self._errors) if line), "no reason given")
        return LineLostError(
            f"the line to {self.name} broke: {said[:200]}", hint="type the same command again: what arrived is kept"
        )

    def _refusal(self, answer: Mapping[str, Any]) -> DestinationError:
        said = f"{self.name}: {str(answer['error'])[:400]}"
        if answer.get("errno") in ("ENOSPC", "EDQUOT"):
            return DestinationError(f"{self.name}: the disk is full", hint=f"{self.spoken} df -h")
        return DestinationError(said, hint=f"{self.spoken} ls -la")

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").strip()
            self._errors.append(text)
            log.info("ssh %s: %s", self.name, text)
        stream.close()

    def _close(self) -> None:
        with suppress(OSError):
            self._in.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(2)
        self._out.close()


def _remote_command(pythons: Sequence[str]) -> str:
    """What the user's shell over there is to run, whichever shell it is."""
    words = " ".join(map(quote, pythons))
    script = (
        f'for p in {words}; do command -v $p >/dev/null 2>&1 && exec $p -I -S -c "{_BOOT}"; done; '
        "echo REVERSIBLE-NO-PYTHON >&2; exit 127"
    )
    return f"exec sh -c {quote(script)}"


# What ssh says (OpenSSH 9, sshconnect.c and ssh.c), what it means, and what to type.
_REASONS = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the one in known_hosts: another machine answers, "
     "or somebody stands between", "ssh-keygen -F {name}   # the key that is known; ask the provider for the new one"),
    ("Host key verification failed", "its host key is not in known_hosts",
     "ssh {name} true   # compare the fingerprint with the one that the provider shows, then answer yes"),
    ("Permission denied", "it refuses this user or key", "ssh -v {name} true   # shows the keys that were offered"),
    ("Too many authentication failures", "it refuses this user or key", "ssh -v {name} true"),
    ("Could not resolve hostname", "its name is unknown here", "ssh -G {name} | grep -i hostname"),
    ("REVERSIBLE-NO-PYTHON", "it has no python3", "ssh {name} sudo apt-get install -y python3"),
    ("Connection refused", "nothing listens there: connection refused", "ssh -v {name} true"),
    ("timed out", "it does not answer: timed out", "ssh -v {name} true"),
    ("No route to host", "there is no route to it", "ssh -v {name} true"),
    ("Network is unreachable", "there is no route to it", "ssh -v {name} true"),
)  # fmt: skip


def failure(name: str, status: int, said: Sequence[str], *, config: Sequence[str] = ()) -> DestinationError:
    """Why a line did not come up, from what ssh said and its exit status."""
    spoken = " ".join([*(["-F", quote(config[-1])] if config else []), quote(name)])
    whole = "\n".join(said)
    for sign, meaning, hint in _REASONS:
        if sign in whole:
            return DestinationError(f"{name}: {meaning}", hint=hint.format(name=spoken))
    last = next((line for line in reversed(said) if line), f"ssh ended with status {status}")
    return DestinationError(f"{name}: {last[:300]}", hint=f"ssh -v {spoken} true")
