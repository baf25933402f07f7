"""What does PostgreSQL's own tool say the schema is?"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from reversible.errors import SourceError

_TIMEOUT_S = 600.0


def find(setting: Path | None) -> Path:
    """The pg_dump to run.

    Raises:
        SourceError: there is none; the hint names the setting.
    """
    if setting is not None:
        if not os.access(setting, os.X_OK) or not setting.is_file():
            raise SourceError(f"pg_dump: {setting} is not a program", hint='pg_dump = "/path/to/pg_dump" in the plan')
        return setting
    found = shutil.which("pg_dump")
    if found is None:
        raise SourceError(
            "pg_dump is not on the PATH: the schema cannot be exported",
            hint='apt-get install postgresql-client, or pg_dump = "/path/to/pg_dump" in the plan',
        )
    return Path(found)


def require(program: Path, server_major: int) -> None:
    """Refuse a pg_dump that is older than the server: it would refuse too, later and less clearly.

    Raises:
        SourceError: it is older, or does not say its version.
    """
    said = _run([str(program), "--version"], {}).stdout.decode(errors="replace")
    match = re.search(r"\b(\d+)\.(\d+)|\b(\d+)(?:devel|beta|rc)", said)
    if match is None:
        raise SourceError(f"{program} does not say which version it is: {said.strip()[:80]!r}")
    major = int(match[1] or match[3])
    if major < server_major:
        raise SourceError(
            f"{program} is version {major}, older than the server's {server_major}: it cannot dump this schema",
            hint=f'pg_dump = "/path/to/pg_dump" in the plan, version {server_major} or later',
        )


def schema(
    program: Path, parameters: Mapping[str, str], password: str | None, *, snapshot: str, without: Sequence[str] = ()
) -> bytes:
    """The schema as SQL, of the exported snapshot.

    Args:
        program: pg_dump.
        parameters: libpq's connection parameters, no password among them.
        password: Handed over in the environment, never as an argument.
        snapshot: The identifier that `pg_export_snapshot()` gave.
        without: Quoted names of tables to leave out, because the role may not read them.

    Raises:
        SourceError: pg_dump failed.
    """
    command = [str(program), "--schema-only", "--no-password", f"--snapshot={snapshot}", "--encoding=UTF8"]
    if _can_fix_restrict_key(program):
        command.append("--restrict-key=reversible")  # else drawn at random: the same schema, other bytes
    command += [f"--exclude-table={name}" for name in without]
    environment = {f"PG{_VARIABLES.get(name, name.upper())}": value for name, value in parameters.items()
                   if name in _VARIABLES}  # fmt: skip
    if password is not None:
        environment["PGPASSWORD"] = password
    done = _run(command, environment)
    if done.returncode:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        said = next((line for line in lines if "error" in line), lines[0] if lines else "it said nothing")
        if password:
            said = said.replace(password, "***")
        hint = "GRANT SELECT on the table that it names" if "permission denied" in said else ""
        raise SourceError(f"pg_dump failed: {said.removeprefix('pg_dump: ')}", hint=hint)
    return done.stdout


_VARIABLES = {
    "host": "HOST", "hostaddr": "HOSTADDR", "port": "PORT", "user": "USER", "dbname": "DATABASE",
    "sslmode": "SSLMODE", "sslrootcert": "SSLROOTCERT", "sslcert": "SSLCERT", "sslkey": "SSLKEY",
    "channel_binding": "CHANNELBINDING", "passfile": "PASSFILE", "options": "OPTIONS", "gssencmode": "GSSENCMODE",
}  # fmt: skip


@cache
def _can_fix_restrict_key(program: Path) -> bool:
    return b"--restrict-key" in _run([str(program), "--help"], {}).stdout


def _run(command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **environment},
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} gave no answer in {_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise SourceError(f"{command[0]} cannot be run: {error.strerror}") from error
