"""How does a real MariaDB come up on this machine, for tests and benchmarks, without an account or a container?

From the programs of Debian's `mariadb-server` (or any other package that puts them on the PATH). No wheel carries them.
"""

import atexit
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

from reversible.errors import SourceError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_READY_TIMEOUT_S = 60.0
_ATTEMPTS = 5  # another program may take the free port between our look and MariaDB's bind
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin")


class MariaDBServer:
    """One throw-away MariaDB on loopback TCP, passwords asked for. Use it as a context manager.

    Args:
        directory: Where its data and log lie; made if missing. Data that an earlier run left there is removed.
        database: The database that `url` names; utf8mb4.
        password: The administrator's password; drawn when not given.
        options: Further options of `mariadbd`, as "--name=value".

    Raises:
        SourceError: MariaDB is not installed, or does not start; the message holds the log's reason.
    """

    host = "127.0.0.1"
    user = "root"
    product = "MariaDB"
    _greeting = b"MariaDB"  # what the server's first words hold

    def __init__(
        self, directory: Path, *, database: str = "comptoir", password: str | None = None, options: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        self.database = database
        self.password = password or secrets.token_urlsafe(18)
        self.port = 0
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The administrator's URL, without the password."""
        return self.url_of(self.user)

    def url_of(self, user: str, database: str | None = None) -> str:
        """The URL of another user, without a password."""
        return f"mysql://{quote(user)}@{self.host}:{self.port}/{quote(database or self.database, safe='')}"

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        """Make the data directory and wait until the server takes connections."""
        atexit.register(self.stop)
        data = self.directory.absolute() / "data"
        if data.exists():
            shutil.rmtree(data)
        data.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._run(self._making(data))
            first = data.parent / "first.sql"
            first.touch(mode=0o600)
            secret = self.password.replace("\\", "\\\\").replace("'", "''")
            first.write_text(
                f"ALTER USER root@localhost IDENTIFIED BY '{secret}';\n"
                f"CREATE USER IF NOT EXISTS root@'{self.host}';\n"  # names are not resolved
                f"ALTER USER root@'{self.host}' IDENTIFIED BY '{secret}';\n"
                f"GRANT ALL PRIVILEGES ON *.* TO root@'{self.host}' WITH GRANT OPTION;\n"
                f"CREATE DATABASE IF NOT EXISTS `{self.database.replace('`', '``')}` CHARACTER SET utf8mb4;\n",
                encoding="utf-8",
            )
            self._start_server(data, first)
            first.unlink()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, *, signal_number: int = signal.SIGTERM) -> None:
        """Stop it; safe to call twice. SIGKILL is a crash."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal_number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        atexit.unregister(self.stop)

    def restart(self) -> None:
        """Start again on the same data and port, after `stop`."""
        self._start_server(self.directory.absolute() / "data", None)
        atexit.register(self.stop)

    close = stop

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- what differs between the two products ------------------------------------------------------------------

    def program(self, name: str) -> Path:
        """One of the product's programs.

        Raises:
            SourceError: it is not installed.
        """
        return program(name)

    def _making(self, data: Path) -> list[str]:
        """The command that makes an empty data directory."""
        return [
            str(self.program("mariadb-install-db")), "--no-defaults", f"--datadir={data}", *account(),
            "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
        ]  # fmt: skip

    def _serving(self) -> list[str]:
        """The server's program and the options that only this product has."""
        return [str(self.program("mariadbd")), "--no-defaults"]

    # --- helpers -----------------------------------------------------------------------------------------------

    def _start_server(self, data: Path, first: Path | None) -> None:
        log = self.directory / f"{self.product.lower()}.log"
        for attempt in range(_ATTEMPTS):
            self.port = self.port or _free_port(self.host)
            command = [
                *self._serving(), f"--datadir={data}", *account(),
                f"--bind-address={self.host}", f"--port={self.port}", "--socket=server.sock",  # within the data
                f"--pid-file={data}/server.pid", "--skip-name-resolve", "--character-set-server=utf8mb4",
                "--innodb-flush-log-at-trx-commit=0",  # its data need not survive a power cut
                "--innodb-buffer-pool-size=64M",
                *([f"--init-file={first}"] if first else []), *self.options,
            ]  # fmt: skip
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_environment(),
                    start_new_session=True, preexec_fn=_die_with_parent,  # a Ctrl-C is for us: we then stop it in order
                )  # fmt: skip
            if self._wait_until_ready():
                return
            taken = b"Can't start server: Bind on TCP/IP port" in log.read_bytes()
            if not taken or attempt == _ATTEMPTS - 1:
                raise SourceError(f"the sample {self.product} does not start: {_reason(log)}", hint=f"tail {log}")
            self.port = 0

    def _wait_until_ready(self) -> bool:
        """The server's greeting on its port: it is sent only once connections are taken."""
        assert self._process is not None  # noqa: S101 - set by the caller
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection((self.host, self.port), 1.0) as probe:
                    probe.settimeout(1.0)
                    if self._greeting in probe.recv(256):
                        return True
            except OSError:
                pass  # not yet
            time.sleep(0.05)
        return False

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise SourceError(f"{Path(command[0]).name} failed: {said[-1] if said else done.returncode}")


def program(name: str) -> Path:
    """A program of MariaDB, on the PATH or where Debian keeps servers.

    Raises:
        SourceError: it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_PLACES))
    if found is None:
        raise SourceError(f"{name} is not on this machine", hint="apt-get install mariadb-server")
    return Path(found)


def account() -> list[str]:
    """The option without which a server does not run as the superuser."""
    return ["--user=root"] if os.geteuid() == 0 else []


_libc = ctypes.CDLL(None, use_errno=True)  # opened here: between fork and exec nothing may be loaded


def _die_with_parent() -> None:
    """Linux: a killed parent takes the server along, even by SIGKILL."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _environment() -> dict[str, str]:
    """Ours, without the settings that would lead MariaDB's programs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MYSQL", "MARIADB", "LC_"))}
    return {**kept, "LANG": "C", "TZ": "UTC"}


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _reason(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    errors = [line for line in lines if "[ERROR]" in line]
    return [*errors, *lines[-1:], "it said nothing"][0]
